/** What a host's grants say of a site's state whose newest entries are lost, and when nothing may be said at all. */
import test from 'ava'
import { emptyMesh, type MeshState } from '../../node/catalog/mesh.ts'
import { emptySite, type SiteState, type SiteVm } from '../../node/catalog/site.ts'
import { mendMesh, mendSite } from '../../node/mending.ts'
import { type Epoch, nextGeneration } from '../../protocols/epoch.ts'
import { key } from '../../storage/keyspace.ts'
import { type Grant, grant, knownPeer } from '../../storage/records.ts'

const ulid = (n: number): string => `01J${String(n).padStart(23, '0')}`
const [anna, bob] = ['anna11111111111111', 'bob111111111111111'] as const
const [harbour, hill] = ['harbour1', 'hill1111'] as const
const vm = `${harbour}-${ulid(7)}`
const disks = [{ image: 'c'.repeat(64), bytes: 4096 }]
const GENERATION = nextGeneration(0, () => 0.5)
const epochOf = (placement: number): Epoch => [0, 1, 0, placement]

const held = (rest: Partial<Grant> = {}): Grant => ({
  vm,
  name: 'web',
  epoch: epochOf(2),
  terms: 'held',
  spec: '{}',
  disks,
  wanted: 'running',
  deleting: false,
  boot: '',
  ...rest,
})
const known = (rest: Partial<SiteVm> = {}): SiteVm => ({
  id: vm,
  name: 'web',
  spec: '{}',
  disks,
  wanted: 'running',
  kill: false,
  host: anna,
  epoch: epochOf(2),
  deleting: false,
  ...rest,
})
const move = { m: ulid(50), to: hill, host: bob }

function disk(grants: readonly Grant[], peers: readonly string[] = [anna]) {
  const pairs = [
    ...grants.map((each) => [key('grant', each.vm), grant.encode(each)] as const),
    ...peers.map((id) => [key('peer', id), knownPeer.encode({ id, addresses: [] })] as const),
  ]
  return { recovered: (prefix: string) => pairs.filter(([at]) => at.startsWith(prefix)) }
}

const site = (...vms: SiteVm[]): SiteState => ({
  ...emptySite(),
  vms: Object.fromEntries(vms.map((each) => [each.id, each])),
})
const meshOf = (peers: Record<string, string>): MeshState => ({
  ...emptyMesh(),
  peers: Object.fromEntries(
    Object.entries(peers).map(([id, at]) => [id, { id, name: id.slice(0, 3), site: at, addresses: [] }]),
  ),
})

type Row = [what: string, grants: Grant[], before: SiteVm[], after: SiteVm[]]
const rows: Row[] = [
  ['a VM whose creation is lost is there again', [held()], [], [known()]],
  [
    'a stop that is lost is not undone',
    [held({ wanted: 'stopped' })],
    [known()],
    [known({ wanted: 'stopped' })],
  ],
  ['a deletion that is lost goes on', [held({ deleting: true })], [known()], [known({ deleting: true })]],
  [
    'a placement here that is lost counts, and what was under way before it is over',
    [held({ epoch: epochOf(3) })],
    [known({ host: bob, move })],
    [known({ epoch: epochOf(3) })],
  ],
  ['a move under this epoch stays what it is', [held()], [known({ move })], [known({ move })]],
  [
    'a newer record elsewhere is not undone by an old grant',
    [held()],
    [known({ host: bob, epoch: epochOf(3) })],
    [known({ host: bob, epoch: epochOf(3) })],
  ],
  ['a VM without a grant here stays as it is', [], [known()], [known()]],
]
for (const [what, grants, before, after] of rows) {
  test(what, (t) => {
    const mended = mendSite(
      disk(grants),
      { peer: anna, site: harbour, mesh: undefined },
      site(...before),
      GENERATION,
    )
    t.deepEqual(Object.values(mended?.vms ?? {}), after)
    t.deepEqual(mended?.recovery, { generation: GENERATION, by: '', before: [0], unheard: { [anna]: true } })
  })
}

test('a VM that is no more is not there again because its grant still is', (t) => {
  const state: SiteState = { ...site(), tombstones: [{ vm, epoch: epochOf(2) }] }
  const around = { peer: anna, site: harbour, mesh: undefined }
  t.deepEqual(mendSite(disk([held()]), around, state, GENERATION)?.vms, {})
})

type Known = [what: string, peers: string[], mesh: MeshState | undefined, site: boolean, mesh_: boolean]
const knowns: Known[] = [
  ['nobody else is known', [anna], undefined, true, true],
  ['nobody at all is written down', [], undefined, true, true],
  ['another peer is known, and nobody says where it is', [anna, bob], undefined, false, false],
  ['another peer of this site', [anna, bob], meshOf({ [anna]: harbour, [bob]: harbour }), false, false],
  ['another peer, of another site', [anna, bob], meshOf({ [anna]: harbour, [bob]: hill }), true, false],
]
for (const [what, peers, mesh, siteMay, meshMay] of knowns) {
  test(`whether anything may be said: ${what}`, (t) => {
    const store = disk([], peers)
    t.is(mendSite(store, { peer: anna, site: harbour, mesh }, site(), GENERATION) !== undefined, siteMay)
    t.is(mendMesh(store, anna, emptyMesh(), GENERATION) !== undefined, meshMay)
  })
}

test('open tokens of a mesh whose newest entries are lost are revoked: one may have been used', (t) => {
  const token = { id: ulid(1), secretHash: 'a'.repeat(64), siteName: '', expiresMs: 1, issuer: anna }
  const state: MeshState = {
    ...emptyMesh(),
    tokens: {
      [ulid(1)]: { ...token, state: 'open', usedBy: '' },
      [ulid(2)]: { ...token, id: ulid(2), state: 'used', usedBy: anna },
    },
  }
  const mended = mendMesh(disk([]), anna, state, GENERATION)
  t.deepEqual(
    Object.values(mended?.tokens ?? {}).map(({ state: each }) => each),
    ['revoked', 'used'],
  )
})
