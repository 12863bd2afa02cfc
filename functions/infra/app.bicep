// The Flex Consumption plan, the function app with its own identity, and the app's settings. No setting holds a secret.

import { deploymentContainer } from 'names.bicep'

@description('The name of the app.')
param name string

@description('The region.')
param location string

@description('The storage account of the host, the queues and the locks.')
param storageAccountName string

@description('The address of its blob service, with a slash at its end.')
param blobEndpoint string

@description('The Application Insights component.')
param insightsName string

@description('DATAVERSE_URL.')
param dataverseUrl string

@description('SYNC_TABLES; empty: not set.')
param tables string

@description('SYNC_VERSION_COLUMN; empty: not set.')
param versionColumn string

@description('SYNC_ON_CONFLICT.')
param onConflict string

@description('SYNC_MAX_CONCURRENCY.')
param maxConcurrency int

@description('SYNC_HOLD_SECONDS.')
param holdSeconds int

@description('SYNC_LOG_FORMAT.')
param logFormat string

@description('Further app settings.')
param settings object

@description('The memory of an instance.')
param instanceMemoryMB int

@description('The most instances of each function.')
param maximumInstanceCount int

@description('The HTTP calls that one instance takes.')
param httpConcurrency int

@description('Instances kept ready for HTTP callers.')
param alwaysReadyHttp int

@description('Instances kept ready for the queue.')
param alwaysReadyQueue int

@description('Tags for the plan and the app.')
param tags object

var alwaysReady = [
  { name: 'http', instanceCount: alwaysReadyHttp }
  { name: 'function:SyncQueue', instanceCount: alwaysReadyQueue }
]

var ownSettings = {
  AzureWebJobsStorage__accountName: storageAccountName
  APPLICATIONINSIGHTS_CONNECTION_STRING: component.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD'
  DATAVERSE_URL: dataverseUrl
  SYNC_TABLES: tables
  SYNC_VERSION_COLUMN: versionColumn
  SYNC_ON_CONFLICT: onConflict
  SYNC_MAX_CONCURRENCY: string(maxConcurrency)
  SYNC_HOLD_SECONDS: string(holdSeconds)
  SYNC_LOG_FORMAT: logFormat
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  // azd finds the app by the name that its service has in azure.yaml.
  tags: union(tags, { 'azd-service-name': 'sync' })
  kind: 'functionapp,linux'
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobEndpoint}${deploymentContainer}'
          authentication: {
            type: 'SystemAssignedIdentity'
          }
        }
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: filter(alwaysReady, ready => ready.instanceCount > 0)
        triggers: {
          http: {
            perInstanceConcurrency: httpConcurrency
          }
        }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
    }
  }
}

resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: site
  name: 'appsettings'
  properties: union(ownSettings, settings)
}

@description('The name of the app.')
output name string = site.name

@description('The object id of its identity.')
output principalId string = site.identity.principalId
