// The workbook: the queries of ../queries.kql as charts and tables. It calls the stored query SyncRecords.

@description('Azure region of the workbook.')
param location string

@description('The workbook\'s title ends with it: the name of the function app.')
param prefix string

@description('Resource id of the Log Analytics workspace that holds the log.')
param workspaceId string

@description('Resource id of the Application Insights component that the app logs to. Other apps in the workspace are left out.')
param componentId string

@description('Tags of the workbook.')
param tags object = {}

var template = loadTextContent('workbook.json')
var content = replace(replace(template, '__workspaceId__', workspaceId), '__componentId__', componentId)

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'dataverse-sync', prefix)
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'dataverse-sync: ${prefix}'
    serializedData: content
    version: '1.0'
    category: 'workbook'
    sourceId: componentId
  }
}

@description('Resource id of the workbook.')
output workbookId string = workbook.id
