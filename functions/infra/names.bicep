// Names and rules that more than one template needs. The queues' names are those of SyncQueue/function.json, the lock
// container's is the default of LOCK_CONTAINER; a test holds them against the code.

@export()
@description('The queue that SyncQueue reads.')
var recordQueue = 'sync-records'

@export()
@description('The queue of dead letters, and of messages that the host has given up.')
var poisonQueue = 'sync-records-poison'

@export()
@description('The container of the lock blobs and tombstones.')
var lockContainer = 'sync-locks'

@export()
@description('The container of the published app.')
var deploymentContainer = 'deployments'

@export()
@description('The lifecycle rule that deletes lock blobs which have not been written for so many days.')
func lifecycleRules(container string, days int) array => [
  {
    name: container
    enabled: true
    type: 'Lifecycle'
    definition: {
      filters: { blobTypes: ['blockBlob'], prefixMatch: ['${container}/'] }
      actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: days } } }
    }
  }
]
