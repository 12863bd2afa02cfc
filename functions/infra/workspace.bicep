// A new Log Analytics workspace.

@description('The name of the workspace.')
param name string

@description('The region.')
param location string

@description('Days that it keeps the logs.')
param retentionDays int

@description('Tags for the workspace.')
param tags object

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
  }
}
