// Alert rules on what the handler logs. A stopped app logs nothing, so none of them tells that it is down.
// The queries are those of ../queries.kql; SyncRecords is inlined, so that no rule depends on the stored query.

@description('Azure region of the rules: that of the workspace.')
param location string

@description('The names of the rules begin with it: the name of the function app.')
param prefix string

@description('Resource id of the Log Analytics workspace that holds the log.')
param workspaceId string

@description('Resource id of the Application Insights component that the app logs to. Other apps in the workspace are left out.')
param componentId string

@description('Resource ids of the action groups to notify. Without one, alerts are only shown in the portal.')
param actionGroupIds string[] = []

@description('Tags of the rules.')
param tags object = {}

@description('Whether the rules are evaluated.')
param enabled bool = true

@description('Most dead letters in 15 minutes without an alert.')
@minValue(0)
param maxDeadLetters int = 0

@description('Severity of the alert on dead letters: 0 critical, 1 error, 2 warning, 3 informational, 4 verbose.')
@minValue(0)
@maxValue(4)
param deadLettersSeverity int = 2

@description('Most minutes that a circuit breaker is open without an alert.')
@minValue(1)
param maxOpenMinutes int = 15

@description('Severity of the alert on an open circuit breaker: 0 critical, 1 error, 2 warning, 3 informational, 4 verbose.')
@minValue(0)
@maxValue(4)
param circuitBreakerSeverity int = 1

@description('Most retries without an alert, in percent of the records of 15 minutes.')
@minValue(1)
@maxValue(100)
param maxRetryPercent int = 20

@description('Severity of the alert on the share of retries: 0 critical, 1 error, 2 warning, 3 informational, 4 verbose.')
@minValue(0)
@maxValue(4)
param retriesSeverity int = 2

@description('Most seconds that 95 percent of the messages lie in the queue until their first delivery without an alert.')
@minValue(1)
param maxQueuedSeconds int = 600

@description('Severity of the alert on the time in the queue: 0 critical, 1 error, 2 warning, 3 informational, 4 verbose.')
@minValue(0)
@maxValue(4)
param queuedSeverity int = 2

// By name. Queries are separated by an empty line, and begin with a comment whose first line is the name.
var queries = toObject(
  split(replace(loadTextContent('../queries.kql'), '\r\n', '\n'), '\n\n'),
  query => substring(split(query, '\n')[0], 3)
)

var rules = [
  {
    name: 'dead-letters'
    title: 'dead letters'
    description: 'Messages became dead letters. "handler dead-letters list" shows why, "handler dead-letters replay" sends them again.'
    severity: deadLettersSeverity
    query: queries['Which messages became dead letters?']
    window: 'PT15M'
    measure: 'DeadLetters'
    aggregation: 'Total'
    threshold: maxDeadLetters
  }
  {
    name: 'circuit-breaker'
    title: 'circuit breaker open'
    description: 'Dataverse, Entra ID or the lock storage has not worked for minutes; messages wait. "handler doctor" finds the cause.'
    severity: circuitBreakerSeverity
    query: queries['Which circuit breakers are open, and for how long?']
    // A circuit breaker that opened before the window would look closed.
    window: 'P1D'
    measure: 'OpenMinutes'
    aggregation: 'Maximum'
    threshold: maxOpenMinutes
  }
  {
    name: 'retries'
    title: 'share of retries'
    description: 'Many records go back to the queue. The workbook shows for what reason.'
    severity: retriesSeverity
    query: queries['What share of the records goes back?']
    window: 'PT15M'
    measure: 'RetryPercent'
    aggregation: 'Average'
    threshold: maxRetryPercent
  }
  {
    name: 'time-in-queue'
    title: 'time in the queue'
    description: 'Messages lie in the queue for long before their first delivery: more arrive than Dataverse takes.'
    severity: queuedSeverity
    query: queries['How long do messages lie in the queue?']
    window: 'PT15M'
    measure: 'QueuedSeconds95'
    aggregation: 'Maximum'
    threshold: maxQueuedSeconds
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${prefix}-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${prefix}: ${rule.title}'
    description: rule.description
    enabled: enabled
    severity: rule.severity
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: rule.window
    // A new workspace has no table AppTraces before the first line arrives.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: 'let SyncRecords = ${queries.SyncRecords};\n${rule.query}\n| where _ResourceId =~ "${componentId}"'
          metricMeasureColumn: rule.measure
          timeAggregation: rule.aggregation
          operator: 'GreaterThan'
          threshold: rule.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: actionGroupIds
    }
  }
}]
