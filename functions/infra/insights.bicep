// Application Insights on the workspace. Without local authentication its connection string is an address, not a key.

@description('The name of the component.')
param name string

@description('The region.')
param location string

@description('The resource id of the workspace.')
param workspaceId string

@description('Tags for the component.')
param tags object

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: name
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspaceId
    DisableLocalAuth: true
  }
}

@description('The name of the component.')
output name string = component.name

@description('The resource id of the component.')
output id string = component.id
