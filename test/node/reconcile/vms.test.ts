import test from 'ava'
import type { SiteVm } from '../../../node/catalog/site.ts'
import { Vms } from '../../../node/reconcile/vms.ts'
import type { Surroundings } from '../../../node/reconcile/wanted.ts'
import type { Epoch } from '../../../protocols/epoch.ts'
import { SimChunkStore, SimManifestStore } from '../../../simulator/chunk-store.ts'
import { SimDisks } from '../../../simulator/disks.ts'
import { SimHypervisor } from '../../../simulator/hypervisor.ts'
import { SimJournal } from '../../../simulator/journal.ts'
import { SimStore } from '../../../simulator/store.ts'
import { World } from '../../../simulator/world.ts'
import { key } from '../../../storage/keyspace.ts'
import { grant as grantRecord } from '../../../storage/records.ts'

const id = `harbour1-01J${'0'.repeat(22)}1`
const self = 'anna11111111111111'
const epoch: Epoch = [0, 1, 0, 1]
const spec = JSON.stringify({ autostart: true, dependsOn: [] })

/** A host with a grant that was written when the site's log was applied up to 9, and a log that is `index` entries long so far. */
function host(index: number, agreed: Partial<SiteVm>) {
  const world = new World(1)
  const stores = { chunks: new SimChunkStore(world, 'a'), manifests: new SimManifestStore(world, 'a') }
  const disks = new SimDisks(world, stores)
  const grant = grantRecord.encode({
    vm: id,
    name: 'web',
    epoch,
    terms: 'held',
    spec,
    disks: [],
    wanted: 'stopped',
    deleting: false,
    boot: '',
    index: 9,
  })
  const record: SiteVm = {
    id,
    name: 'web',
    spec,
    disks: [],
    wanted: 'running',
    kill: false,
    host: self,
    epoch,
    deleting: false,
    ...agreed,
  }
  const log = { index }
  const around: Surroundings = {
    self,
    boot: 'boot',
    agreed: () => record,
    placedHere: () => [record],
    agreedIndex: () => log.index,
    homeElsewhere: () => undefined,
    unheard: () => undefined,
    doubt: () => undefined,
    moveHolds: () => false,
    moveEnded: () => undefined,
    unmetDependency: () => undefined,
    fetch: (_vm, _images, done) => done({ ok: true, value: undefined }),
    wantStopped: () => {},
    gone: () => {},
    changed: () => {},
  }
  const vms = new Vms(around, {
    clock: world.clock(),
    store: new SimStore(world, 'a', new Map([[key('grant', id), grant]])),
    hypervisor: new SimHypervisor(world, 'a', disks),
    disks,
    journal: new SimJournal(world, 'a'),
  })
  vms.start(() => {})
  world.run(5_000)
  return { vms, log, world }
}

test('a log that is not applied as far as it was changes no grant', (t) => {
  const { vms, log, world } = host(8, {})
  t.is(vms.grantOf(id)?.wanted, 'stopped')
  log.index = 10
  world.run(10_000)
  t.is(vms.grantOf(id)?.wanted, 'running')
  t.is(vms.grantOf(id)?.index, 10)
})

test('a higher epoch counts at once, however far the log is applied', (t) => {
  t.is(host(8, { epoch: [0, 1, 0, 2] }).vms.grantOf(id)?.wanted, 'running')
})
