import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import {
  applySite,
  emptySite,
  hostsForPlacement,
  siteCommand,
  type SiteCommand,
  siteState,
  type SiteState,
} from '../../../node/catalog/site.ts'
import type { Epoch } from '../../../protocols/epoch.ts'
import { TOMBSTONES_MAX } from '../../../protocols/limits.ts'
import type { Code } from '../../../protocols/errors.ts'

const ulid = (n: number): string => `01J${String(n).padStart(23, '0')}`
const [here, there] = ['harbour1', 'hill1111'] as const
const [a, b] = ['anna11111111111111', 'bob11111111111111'] as const
const vm = (n: number): string => `${here}-${ulid(n)}`
const [m, later] = [ulid(50), ulid(51)]
const one: Epoch = [0, 1, 0, 1]
const two: Epoch = [0, 1, 0, 2]
const disks = [{ image: 'c'.repeat(64), bytes: 4096 }]
const newer = [{ image: 'd'.repeat(64), bytes: 4096 }]
const spec = (memoryMiB: number): string =>
  JSON.stringify({ version: 1, name: 'web', cpus: 1, memoryMiB, disks: [{ image: 'debian' }], labels: {} })

const host = (id: string, memoryMiB = 1024): SiteCommand => ({
  kind: 'host-commit',
  id,
  name: id.slice(0, 3),
  cpus: 4,
  memoryMiB,
  diskBytes: 2 ** 30,
  driver: 'tcg',
  labels: {},
})
const create = (n: number, name: string, on: string = a, memoryMiB = 512): SiteCommand => ({
  kind: 'vm-create',
  vm: vm(n),
  name,
  spec: spec(memoryMiB),
  disks,
  host: on,
  wanted: 'running',
})
const want = (wanted: 'running' | 'stopped'): SiteCommand => ({
  kind: 'vm-want',
  vm: vm(1),
  wanted,
  kill: false,
})
const move = (id = m, to: string = here, on: string = b, epoch: Epoch = one): SiteCommand => ({
  kind: 'vm-move',
  m: id,
  vm: vm(1),
  to,
  host: on,
  epoch,
  wanted: 'running' as const,
})
const take = (id = m, on: string = b): SiteCommand => ({
  kind: 'vm-take',
  m: id,
  vm: vm(1),
  host: on,
  disks: newer,
})
const cancel = (id = m): SiteCommand => ({ kind: 'vm-move-cancel', m: id, vm: vm(1), epoch: one, why: 'no' })
const reserve = (id = m, name = 'web', memoryMiB = 512): SiteCommand => ({
  kind: 'reserve',
  m: id,
  vm: vm(1),
  name,
  spec: spec(memoryMiB),
  host: a,
  epoch: one,
})
const adopt: SiteCommand = {
  kind: 'vm-adopt',
  m,
  vm: vm(1),
  name: 'web',
  spec: spec(512),
  disks,
  host: a,
  epoch: [0, 2, 0, 1],
  wanted: 'running',
}

const site = [host(a), host(b)]
const placed = [...site, create(1, 'web')]

const gone: SiteCommand[] = [
  ...placed,
  { kind: 'vm-delete', vm: vm(1) },
  { kind: 'vm-gone', vm: vm(1), epoch: one },
]

const rules: [rule: string, before: SiteCommand[], command: SiteCommand, answer: Code | 'ok'][] = [
  ['places within committed capacity', site, create(1, 'web'), 'ok'],
  ['places nothing above it', [...placed, create(2, 'db')], create(3, 'more'), 'NO_HOST'],
  ['places nothing on a host that committed none', [], create(1, 'web'), 'NO_HOST'],
  ['has each name once', placed, create(2, 'web', b), 'NAME_TAKEN'],
  ['hears a creation twice', placed, create(1, 'web'), 'ok'],
  ['wants what is asked', placed, want('stopped'), 'ok'],
  ['knows which VMs there are', site, want('stopped'), 'NOT_FOUND'],
  ['marks a VM as moving', placed, move(), 'ok'],
  ['moves under the epoch that stands', placed, move(m, here, b, two), 'STALE'],
  ['carries away nothing that was asked meanwhile', [...placed, want('stopped')], move(), 'STALE'],
  ['cancels what was never marked', placed, cancel(), 'ok'],
  [
    'knows by the epoch that an older move was taken',
    [...placed, move(), take()],
    cancel(later),
    'MOVE_TAKEN',
  ],
  ['moves nowhere when it is there', placed, move(m, here, a), 'MOVE_REFUSED'],
  ['moves a VM once at a time', [...placed, move()], move(later), 'BUSY'],
  ['starts and stops nothing that moves', [...placed, move()], want('stopped'), 'BUSY'],
  [
    'but while that is being cancelled',
    [...placed, move()],
    { ...want('stopped'), cancelling: m } as SiteCommand,
    'ok',
  ],
  ['and no other', [...placed, move()], { ...want('stopped'), cancelling: later } as SiteCommand, 'BUSY'],
  ['deletes nothing that moves', [...placed, move()], { kind: 'vm-delete', vm: vm(1) }, 'BUSY'],
  [
    'moves nothing that is being deleted',
    [...placed, { kind: 'vm-delete', vm: vm(1) }],
    move(),
    'ILLEGAL_STATE',
  ],
  ['finds no room for a move where there is none', [...placed, create(2, 'db', b, 1024)], move(), 'NO_HOST'],
  ['lets the named host take', [...placed, move()], take(), 'ok'],
  ['lets no other host take', [...placed, move()], take(m, a), 'MOVE_CANCELLED'],
  ['hears a take twice', [...placed, move(), take()], take(), 'ok'],
  ['lets a cancel that came first win', [...placed, move(), cancel()], take(), 'MOVE_CANCELLED'],
  ['lets a take that came first win', [...placed, move(), take()], cancel(), 'MOVE_TAKEN'],
  [
    'lets a VM leave under its move',
    [...placed, move(m, there, 'cora11111111111111')],
    { kind: 'vm-left', m, vm: vm(1) },
    'ok',
  ],
  [
    'lets it leave under no other',
    [...placed, move()],
    { kind: 'vm-left', m: later, vm: vm(1) },
    'MOVE_CANCELLED',
  ],
  [
    'forgets a VM only under its last epoch',
    [...placed, { kind: 'vm-delete', vm: vm(1) }],
    { kind: 'vm-gone', vm: vm(1), epoch: two },
    'STALE',
  ],
  ['forgets no VM that nobody deletes', placed, { kind: 'vm-gone', vm: vm(1), epoch: one }, 'STALE'],
  ['reserves room once', site, reserve(), 'ok'],
  ['reserves no name that is taken', [...site, create(2, 'web', b)], reserve(), 'NAME_TAKEN'],
  ['reserves no room it has not', site, reserve(m, 'web', 2048), 'NO_HOST'],
  ['counts what is reserved', [...site, reserve(m, 'web', 1024)], create(2, 'db'), 'NO_HOST'],
  ['adopts what the mesh gave it', [...site, reserve()], adopt, 'ok'],
  ['hears an adoption twice', [...site, reserve(), adopt], adopt, 'ok'],
  ['creates no VM a second time that was deleted', gone, create(1, 'web'), 'STALE'],
  ['names an image once', [image('debian', 'a')], image('debian', 'b'), 'NAME_TAKEN'],
]

for (const [rule, before, command, answer] of rules) {
  test(`a site ${rule}`, (t) => {
    const state = after(before)
    const outcome = applySite(state, siteCommand.decode(siteCommand.encode(command)))
    t.is(outcome.ok ? 'ok' : outcome.failure.code, answer)
  })
}

test('a take gives the next placement and the captured disks', (t) => {
  const { vms } = after([...placed, move(), take()])
  t.like(vms[vm(1)], { host: b, epoch: two, disks: newer, ended: { m, how: 'taken', why: '' } })
  t.is(vms[vm(1)]?.move, undefined)
})

test('a VM that comes back takes the place of what it was here before (found by mesh, seed 3)', (t) => {
  const back = { ...adopt, epoch: [0, 3, 0, 1] as const, host: b }
  const { vms } = after([...placed, move(later, there, 'cora11111111111111'), reserve(), back])
  t.like(vms[vm(1)], { host: b, epoch: [0, 3, 0, 1] })
  t.is(vms[vm(1)]?.move, undefined)
})

test('an adoption that comes after the VM was deleted brings nothing back, and frees its room', (t) => {
  const deleted: SiteCommand[] = [
    ...site,
    reserve(),
    adopt,
    { kind: 'vm-delete', vm: vm(1) },
    { kind: 'vm-gone', vm: vm(1), epoch: [0, 2, 0, 1] },
  ]
  const state = after([...deleted, reserve(), adopt])
  t.deepEqual(state.vms, {})
  t.deepEqual(state.reservations, {})
  t.deepEqual(siteState.decode(siteState.encode(state)), state)
})

test('a site remembers a bounded number of the VMs that were deleted, the newest', (t) => {
  const state = after(site)
  for (let n = 1; n <= TOMBSTONES_MAX + 1; n++)
    for (const each of [
      create(n, 'web'),
      { kind: 'vm-delete', vm: vm(n) } as const,
      { kind: 'vm-gone', vm: vm(n), epoch: one } as const,
    ])
      applySite(state, each)
  t.is(state.tombstones?.length, TOMBSTONES_MAX)
  t.is(state.tombstones?.at(-1)?.vm, vm(TOMBSTONES_MAX + 1))
})

test('a cancel leaves the VM where it was, under its epoch', (t) => {
  t.like(after([...placed, move(), cancel()]).vms[vm(1)], { host: a, epoch: one, disks })
})

test('the state survives its codec', (t) => {
  const state = after([...placed, move(), reserve(later, 'other')])
  t.deepEqual(siteState.decode(siteState.encode(state)), state)
})

const command = fc.oneof(
  fc
    .record({
      n: fc.integer({ min: 1, max: 6 }),
      on: fc.constantFrom(a, b),
      memory: fc.constantFrom(128, 512, 700),
    })
    .map(({ n, on, memory }) => create(n, `vm-${n}`, on, memory)),
  fc.constantFrom(
    move(),
    move(later, here, a, two),
    take(),
    take(later, a),
    cancel(),
    cancel(later),
    want('stopped'),
    reserve(),
    adopt,
  ),
  fc.constantFrom<SiteCommand>(
    { kind: 'vm-delete', vm: vm(1) },
    { kind: 'vm-gone', vm: vm(1), epoch: one },
    { kind: 'unreserve', m, vm: vm(1) },
  ),
)

testProp(
  'whatever is asked, nothing is placed above committed capacity and epochs never go back',
  [fc.array(command, { minLength: 1, maxLength: 40 })],
  (t, commands) => {
    const state = after(site)
    const highest = new Map<string, string>()
    for (const each of commands) {
      // The mesh's log names a host only after room was reserved there.
      if (each.kind === 'vm-adopt' && state.reservations[each.vm] === undefined) continue
      applySite(state, each)
      for (const { capacity, committed } of hostsForPlacement(state))
        t.true(committed.memoryMiB <= capacity.memoryMiB)
      for (const { id, epoch } of Object.values(state.vms)) {
        t.true(epoch.join() >= (highest.get(id) ?? ''))
        highest.set(id, epoch.join())
      }
    }
    // All that was drawn may be adoptions without room, which never come.
    t.pass()
  },
)

function image(name: string, hex: string): SiteCommand {
  return { kind: 'image-name', name, image: hex.repeat(64), bytes: 1, dataBytes: 1 }
}

function after(commands: readonly SiteCommand[]): SiteState {
  const state = emptySite()
  for (const each of commands) applySite(state, each)
  return state
}
