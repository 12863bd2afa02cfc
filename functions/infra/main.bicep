// Everything that the app needs in Azure, in one resource group: what is made, in what order, and with whose rights.
//
//   account, storage      the storage account, its containers and its queues
//   workspace, insights   logs and metrics
//   app                   the Flex Consumption plan, the app and its settings
//   storage-roles, insights-role   who may do what: the app, operators, senders
//   alerts, workbook, saved-search   what the log is watched with
//
// Nothing here holds a secret: the app, operators and senders come in by Entra ID. Its outputs are the next commands.
// A storage account or a workspace that exists already is used as it is; what would change it for its other users is
// printed as a command instead.

import { lifecycleRules, lockContainer, recordQueue } from 'names.bicep'

targetScope = 'resourceGroup'

@description('A short name for this environment, such as test or prod. It is part of every name that is not given.')
@minLength(1)
param environmentName string = 'prod'

@description('The region. It has to offer the Flex Consumption plan.')
param location string = resourceGroup().location

@description('Tags for every resource that is created.')
param tags object = {}

// azd also takes _ . ( and ) in the name of an environment.
@description('The name of the function app, unique in the world: letters, digits and hyphens. The host takes its id from the first 32 characters.')
@minLength(2)
@maxLength(32)
param appName string = 'dvsync-${take(replace(replace(replace(replace(environmentName, '_', '-'), '.', '-'), '(', '-'), ')', '-'), 11)}-${uniqueString(resourceGroup().id, environmentName)}'

// The handler's settings.

@description('The Dataverse environment, such as https://contoso.crm.dynamics.com.')
@minLength(9)
param dataverseUrl string

@description('The entity sets that may be written, separated by commas. Empty: all but the schema, code and privileges of the environment.')
param tables string = ''

@description('The column that holds the version of a record. Empty: records have none, unless they name a column.')
param versionColumn string = ''

@description('What a lost create race leads to, where the record does not say: compare and skip, skip, or send again.')
@allowed(['verify', 'skip', 'retry'])
param onConflict string = 'verify'

@description('The most requests that one instance has in flight to Dataverse.')
@minValue(1)
@maxValue(1000)
param maxConcurrency int = 52

@description('How long a message waits in place through an outage, in seconds. With 110 s more it has to stay below functionTimeout in host.json.')
@minValue(0)
@maxValue(490)
param holdSeconds int = 480

@description('The format of the log. The queries and alert rules read both.')
@allowed(['text', 'json'])
param logFormat string = 'text'

@description('Further app settings by name, such as SYNC_HEADERS or OTEL_EXPORTER_OTLP_ENDPOINT. They win. A secret belongs in Key Vault, and its reference here.')
param settings object = {}

// Size and scale.

@description('The memory of an instance. 512 MB are enough: an instance mostly waits for Dataverse.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 512

@description('The most instances of each function. More of them are not faster: Dataverse limits the user, not the instance.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('The HTTP calls that one instance takes before another one is started.')
@minValue(1)
@maxValue(256)
param httpConcurrency int = 52

@description('Instances that are kept ready for HTTP callers, billed by the hour. 0: the first call waits for a cold start.')
@minValue(0)
param alwaysReadyHttp int = 0

@description('Instances that are kept ready for the queue, billed by the hour.')
@minValue(0)
param alwaysReadyQueue int = 0

// Storage.

@description('A storage account that exists. It gets the containers, queues and roles, and is not changed otherwise. Empty: a new one.')
@maxLength(24)
param existingStorageAccount string = ''

@description('The resource group of the storage account that exists.')
param existingStorageGroup string = resourceGroup().name

@description('How a new storage account is replicated.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_LRS'

@description('Days after which an untouched lock blob is deleted. WARNING: the tombstones of deleted records are in these blobs. After it, an older message creates a deleted record again, so it must be longer than a message can be late; a queue message lives 7 days.')
@minValue(8)
param lockRetentionDays int = 90

// Watching.

@description('A Log Analytics workspace that exists. Empty: a new one.')
@maxLength(63)
param existingWorkspace string = ''

@description('The resource group of the workspace that exists.')
param existingWorkspaceGroup string = resourceGroup().name

@description('Days that a new workspace keeps the logs.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Resource ids of the action groups that the alert rules call. Without one, alerts are shown in the portal alone.')
param actionGroupIds string[] = []

@description('Whether the alert rules are evaluated.')
param alertsEnabled bool = true

@description('Most dead letters in 15 minutes without an alert.')
@minValue(0)
param maxDeadLetters int = 0

@description('Most minutes that a circuit breaker is open without an alert.')
@minValue(1)
param maxOpenMinutes int = 15

@description('Most retries without an alert, in percent of the records of 15 minutes.')
@minValue(1)
@maxValue(100)
param maxRetryPercent int = 20

@description('Most seconds that 95 percent of the messages lie in the queue until their first delivery without an alert.')
@minValue(1)
param maxQueuedSeconds int = 600

// People and other systems.

@description('Object ids of users, groups or identities that look after the app: they may read and write the queues and the locks.')
param operators string[] = []

@description('Object ids of the identities that send records: they may put messages on the queue, and nothing else.')
param senders string[] = []

var newStorage = empty(existingStorageAccount)
var newWorkspace = empty(existingWorkspace)
var storageName = newStorage ? 'dvsync${uniqueString(resourceGroup().id, environmentName)}' : existingStorageAccount
var workspaceName = newWorkspace ? 'log-${appName}' : existingWorkspace
var storageGroup = newStorage ? resourceGroup().name : existingStorageGroup
var workspaceGroup = newWorkspace ? resourceGroup().name : existingWorkspaceGroup
var workspaceId = resourceId(workspaceGroup, 'Microsoft.OperationalInsights/workspaces', workspaceName)
var allTags = union(tags, { 'azd-env-name': environmentName })

module account 'account.bicep' = if (newStorage) {
  params: {
    name: storageName
    location: location
    sku: storageSku
    lockRetentionDays: lockRetentionDays
    tags: allTags
  }
}

module storage 'storage.bicep' = {
  scope: resourceGroup(storageGroup)
  params: {
    accountName: storageName
  }
  dependsOn: [account]
}

module logs 'workspace.bicep' = if (newWorkspace) {
  params: {
    name: workspaceName
    location: location
    retentionDays: logRetentionDays
    tags: allTags
  }
}

module insights 'insights.bicep' = {
  params: {
    name: 'appi-${appName}'
    location: location
    workspaceId: workspaceId
    tags: allTags
  }
  dependsOn: [logs]
}

module app 'app.bicep' = {
  params: {
    name: appName
    location: location
    storageAccountName: storageName
    blobEndpoint: storage.outputs.blobEndpoint
    insightsName: insights.outputs.name
    dataverseUrl: dataverseUrl
    tables: tables
    versionColumn: versionColumn
    onConflict: onConflict
    maxConcurrency: maxConcurrency
    holdSeconds: holdSeconds
    logFormat: logFormat
    settings: settings
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    httpConcurrency: httpConcurrency
    alwaysReadyHttp: alwaysReadyHttp
    alwaysReadyQueue: alwaysReadyQueue
    tags: allTags
  }
}

module storageRoles 'storage-roles.bicep' = {
  scope: resourceGroup(storageGroup)
  params: {
    accountName: storageName
    appPrincipalId: app.outputs.principalId
    operators: operators
    senders: senders
  }
}

module insightsRole 'insights-role.bicep' = {
  params: {
    insightsName: insights.outputs.name
    appPrincipalId: app.outputs.principalId
  }
}

module savedSearch 'saved-search.bicep' = {
  scope: resourceGroup(workspaceGroup)
  params: {
    workspaceName: workspaceName
  }
  dependsOn: [logs]
}

module alerts 'alerts.bicep' = {
  params: {
    // A workspace that exists may be in another region than the app.
    location: savedSearch.outputs.workspaceLocation
    prefix: appName
    workspaceId: workspaceId
    componentId: insights.outputs.id
    actionGroupIds: actionGroupIds
    enabled: alertsEnabled
    maxDeadLetters: maxDeadLetters
    maxOpenMinutes: maxOpenMinutes
    maxRetryPercent: maxRetryPercent
    maxQueuedSeconds: maxQueuedSeconds
    tags: allTags
  }
}

module workbook 'workbook.bicep' = {
  params: {
    location: location
    prefix: appName
    workspaceId: workspaceId
    componentId: insights.outputs.id
    tags: allTags
  }
}

@description('The function app.')
output functionApp string = app.outputs.name

@description('1. The identity becomes a user of Dataverse, with a role of yours. In PowerShell put the part in $() first.')
output dataverseUser string = 'pac admin assign-user --environment ${dataverseUrl} --user $(az ad sp show --id ${app.outputs.principalId} --query appId --output tsv) --application-user --role "<your role>"'

@description('2. Upload the app. azd has done it.')
output publish string = 'func azure functionapp publish ${app.outputs.name} --script-root target/functionapp'

@description('3. The first record, as one of the operators or senders.')
output firstMessage string = 'az storage message put --queue-name ${recordQueue} --account-name ${storageName} --auth-mode login --content \'{"table":"contacts","key":{"employeeid":"E-1"},"columns":{"firstname":"Ada"},"source":"hr","messageId":"first"}\''

@description('4. What is wrong, if anything, as one of the operators.')
output doctor string = 'AzureWebJobsStorage__accountName=${storageName} DATAVERSE_URL=${dataverseUrl} cargo doctor'

@description('5. What is in the queues and which locks are held, as one of the operators.')
output status string = 'AzureWebJobsStorage__accountName=${storageName} target/functionapp/handler status --watch'

@description('The workbook in the portal.')
output workbook string = '${environment().portal}/#resource${workbook.outputs.workbookId}'

@description('For a storage account that existed: TLS 1.2, no public blobs, no shared keys. It ends every access by key, also that of others.')
output hardening string = newStorage
  ? 'nothing to do: ${storageName} was created so'
  : 'az storage account update --name ${storageName} --resource-group ${storageGroup} --min-tls-version TLS1_2 --allow-blob-public-access false --allow-shared-key-access false'

@description('For a storage account that existed: the rule that deletes lock blobs. It replaces all rules of the account; add yours to it.')
output lifecycleRule string = newStorage
  ? 'nothing to do: ${storageName} was created so'
  : 'az storage account management-policy create --account-name ${storageName} --resource-group ${storageGroup} --policy \'${string({ rules: lifecycleRules(lockContainer, lockRetentionDays) })}\''
