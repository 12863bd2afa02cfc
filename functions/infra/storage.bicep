// What the app needs in its storage account, new or not: two containers and two queues.

import { deploymentContainer, lockContainer, poisonQueue, recordQueue } from 'names.bicep'

@description('The storage account.')
param accountName string

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: accountName
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = [
  for container in [deploymentContainer, lockContainer]: {
    parent: blobService
    name: container
    properties: {
      publicAccess: 'None'
    }
  }
]

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' = [
  for queue in [recordQueue, poisonQueue]: {
    parent: queueService
    name: queue
  }
]

@description('The address of the blob service, with a slash at its end.')
output blobEndpoint string = account.properties.primaryEndpoints.blob
