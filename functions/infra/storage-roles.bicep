// Who may do what in the storage account.
//
// The app has the whole account: the host keeps its keys, leases and events there. Operators have the queues and the lock
// container, not the container of the app. Senders have one queue, and may not read it.

import { lockContainer, recordQueue } from 'names.bicep'

@description('The storage account.')
param accountName string

@description('The object id of the identity of the app.')
param appPrincipalId string

@description('Object ids of the operators.')
param operators string[]

@description('Object ids of the senders.')
param senders string[]

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var queueDataMessageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: accountName
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

resource locks 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' existing = {
  parent: blobService
  name: lockContainer
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

resource records 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' existing = {
  parent: queueService
  name: recordQueue
}

resource appRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [blobDataOwner, queueDataContributor, tableDataContributor]: {
    scope: account
    name: guid(account.id, appPrincipalId, role)
    properties: {
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

resource operatorQueueRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operator in operators: {
    scope: account
    name: guid(account.id, operator, queueDataContributor)
    properties: {
      principalId: operator
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
    }
  }
]

resource operatorLockRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for operator in operators: {
    scope: locks
    name: guid(locks.id, operator, blobDataContributor)
    properties: {
      principalId: operator
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    }
  }
]

resource senderRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for sender in senders: {
    scope: records
    name: guid(records.id, sender, queueDataMessageSender)
    properties: {
      principalId: sender
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataMessageSender)
    }
  }
]
