// A new storage account: no shared keys, TLS 1.2, no public blobs; lock blobs are deleted when nobody has written them
// for a long time.

import { lifecycleRules, lockContainer } from 'names.bicep'

@description('The name of the account.')
param name string

@description('The region.')
param location string

@description('How the account is replicated.')
param sku string

@description('Days after which an untouched lock blob is deleted, with the tombstone in it.')
param lockRetentionDays int

@description('Tags for the account.')
param tags object

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
  }
}

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: lifecycleRules(lockContainer, lockRetentionDays)
    }
  }
}
