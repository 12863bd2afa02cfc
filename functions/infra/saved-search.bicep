// The query SyncRecords of ../queries.kql, stored in the workspace as a function that the other queries and the workbook call.

@description('Name of the Log Analytics workspace. It is in the resource group that this module is deployed to.')
param workspaceName string

// Queries are separated by an empty line; SyncRecords is the first.
var syncRecords = split(replace(loadTextContent('../queries.kql'), '\r\n', '\n'), '\n\n')[0]

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {
  name: workspaceName
}

resource storedQuery 'Microsoft.OperationalInsights/workspaces/savedSearches@2023-09-01' = {
  parent: workspace
  name: 'SyncRecords'
  properties: {
    category: 'dataverse-sync'
    displayName: 'SyncRecords'
    functionAlias: 'SyncRecords'
    query: syncRecords
    version: 2
  }
}

@description('The region of the workspace.')
output workspaceLocation string = workspace.location
