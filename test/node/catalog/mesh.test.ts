import test from 'ava'
import {
  applyMesh,
  emptyMesh,
  homeOf,
  type MeshCommand,
  meshCommand,
  meshState,
  type MeshState,
} from '../../../node/catalog/mesh.ts'
import type { Code } from '../../../protocols/errors.ts'
import { ENDED_TOKENS } from '../../../protocols/features.ts'
import { TOKENS_MAX } from '../../../protocols/limits.ts'

const ulid = (n: number): string => `01J${String(n).padStart(23, '0')}`
const [anna, bob, cora] = ['anna11111111111111', 'bob11111111111111', 'cora11111111111111'] as const
const [harbour, hill] = ['harbour1', 'hill1111'] as const
const secretHash = 'f'.repeat(64)
const vm = `${harbour}-${ulid(7)}`
const [m, later] = [ulid(50), ulid(51)]
const SPEC = JSON.stringify({ cpus: 1, memoryMiB: 64, disks: [{}], labels: {} })
const disks = [{ image: 'c'.repeat(64), bytes: 4096 }]

const found: MeshCommand = {
  kind: 'found',
  mesh: ulid(1),
  peer: anna,
  peerName: 'anna',
  site: harbour,
  siteName: 'harbour',
  addresses: [],
}
const token = (id: number, siteName = ''): MeshCommand => ({
  kind: 'token-create',
  id: ulid(id),
  secretHash,
  siteName,
  expiresMs: 1_000,
  nowMs: 0,
  issuer: anna,
})
const admit = (
  id: number,
  peer: string,
  rest: Partial<MeshCommand & { kind: 'admit' }> = {},
): MeshCommand => ({
  kind: 'admit',
  tokenId: ulid(id),
  secretHash,
  nowMs: 500,
  peer,
  peerName: peer.slice(0, 3),
  siteName: 'hill',
  newSite: hill,
  addresses: [],
  ...rest,
})
const intend = (move = m, epoch: readonly [number, number, number, number] = [0, 1, 0, 1]): MeshCommand => ({
  kind: 'move-intend',
  m: move,
  vm,
  name: 'web',
  from: harbour,
  to: hill,
  source: anna,
  host: bob,
  epoch,
  spec: SPEC,
  wanted: 'running',
})
const take = (move = m, host: string = bob): MeshCommand => ({ kind: 'move-take', m: move, vm, host, disks })
const cancel = (move = m): MeshCommand => ({
  epoch: [0, 1, 0, 1],
  kind: 'move-cancel',
  m: move,
  vm,
  why: 'changed my mind',
})

const deleted = (home: number): MeshCommand => ({ kind: 'vm-deleted', vm, epoch: [0, home, 0, 1] })

const twoSites: MeshCommand[] = [found, token(10), admit(10, bob)]

// One row: after these, this command is answered so.
const rules: [rule: string, before: MeshCommand[], command: MeshCommand, answer: Code | 'ok'][] = [
  ['is founded once', [found], found, 'STALE'],
  ['admits on an open token', [found, token(10)], admit(10, bob), 'ok'],
  ['refuses a token nobody made', [found], admit(10, bob), 'TOKEN_REFUSED'],
  [
    'refuses a wrong secret',
    [found, token(10)],
    admit(10, bob, { secretHash: 'e'.repeat(64) }),
    'TOKEN_REFUSED',
  ],
  ['refuses a token after its time', [found, token(10)], admit(10, bob, { nowMs: 1_001 }), 'TOKEN_REFUSED'],
  ['refuses a token for another site', [found, token(10, 'valley')], admit(10, bob), 'TOKEN_REFUSED'],
  ['refuses a used token to another peer', twoSites, admit(10, cora), 'TOKEN_REFUSED'],
  ['tells the same peer the same again', twoSites, admit(10, bob), 'ok'],
  [
    'refuses a revoked token',
    [found, token(10), { kind: 'token-revoke', id: ulid(10) }],
    admit(10, bob),
    'TOKEN_REFUSED',
  ],
  [
    'refuses a second peer of one name in a site',
    [...twoSites, token(11)],
    admit(11, cora, { peerName: 'bob' }),
    'NAME_TAKEN',
  ],
  ['knows which tokens there are', [found], { kind: 'token-revoke', id: ulid(10) }, 'NOT_FOUND'],
  ['intends one move of a VM at a time', [...twoSites, intend()], intend(later), 'BUSY'],
  ['hears an intent twice', [...twoSites, intend()], intend(), 'ok'],
  ['intends nothing to a stranger', [found], intend(), 'NOT_ADMITTED'],
  ['takes what was intended', [...twoSites, intend()], take(), 'ok'],
  ['takes nothing that was not', twoSites, take(), 'MOVE_CANCELLED'],
  ['cancels what never came about', twoSites, cancel(), 'ok'],
  ['hears a cancel twice', [...twoSites, intend(), cancel()], cancel(), 'ok'],
  ['does not intend again what was cancelled', [...twoSites, intend(), cancel()], intend(), 'MOVE_CANCELLED'],
  [
    'cancels an older move that no record is left of',
    [...twoSites, intend(), cancel(), intend(later)],
    cancel(),
    'ok',
  ],
  [
    'knows by the home that an older move was taken',
    [...twoSites, intend(), take()],
    cancel(later),
    'MOVE_TAKEN',
  ],
  ['lets only the named host take', [...twoSites, intend()], take(m, anna), 'NOT_GRANTED'],
  ['hears a take twice', [...twoSites, intend(), take()], take(), 'ok'],
  ['lets a cancel that came first win', [...twoSites, intend(), cancel()], take(), 'MOVE_CANCELLED'],
  ['lets a take that came first win', [...twoSites, intend(), take()], cancel(), 'MOVE_TAKEN'],
  [
    'moves on from where a VM is, not from where it was',
    [...twoSites, intend(), take()],
    intend(later),
    'STALE',
  ],
  [
    'forgets the move of a VM that was deleted where it is',
    [...twoSites, intend(), take()],
    deleted(2),
    'ok',
  ],
  ['forgets none while one is under way', [...twoSites, intend()], deleted(1), 'BUSY'],
  ['forgets none for who is its home no more', [...twoSites, intend(), take()], deleted(1), 'STALE'],
  ['hears twice that a VM was deleted', [...twoSites, intend(), take(), deleted(2)], deleted(2), 'ok'],
  [
    'knows by the home of a deleted VM that a move was taken',
    [...twoSites, intend(), take(), deleted(2)],
    cancel(),
    'MOVE_TAKEN',
  ],
  ['gives a deleted VM to nobody', [...twoSites, intend(), take(), deleted(2)], take(), 'MOVE_CANCELLED'],
  ['intends again after a cancel', [...twoSites, intend(), cancel()], intend(later), 'ok'],
]

for (const [rule, before, command, answer] of rules) {
  test(`a mesh ${rule}`, (t) => {
    const state = after(before)
    const untouched = structuredClone(state)
    const outcome = applyMesh(state, meshCommand.decode(meshCommand.encode(command)))
    t.is(outcome.ok ? 'ok' : outcome.failure.code, answer)
    if (!outcome.ok) t.deepEqual(state, untouched, 'a refused command changes nothing')
  })
}

test('a spec that apply could not read enters no log', (t) => {
  for (const spec of [
    '{}',
    'no json',
    '[]',
    JSON.stringify({ cpus: 1, memoryMiB: 'x', disks: [], labels: {} }),
  ]) {
    const command = { ...intend(), spec } as MeshCommand
    t.like(
      t.throws(() => meshCommand.encode(command)),
      { failure: { code: 'FRAME_INVALID' } },
    )
  }
})

test('home is the creating site at E 1 until a take says otherwise', (t) => {
  const state = after([...twoSites, intend()])
  t.deepEqual(homeOf(state, vm), { site: harbour, epoch: [0, 1, 0, 0] })
  applyMesh(state, take())
  t.deepEqual(homeOf(state, vm), { site: hill, epoch: [0, 2, 0, 1] })
})

test('the state survives its codec', (t) => {
  const state = after([...twoSites, intend(), take()])
  t.deepEqual(meshState.decode(meshState.encode(state)), state)
})

function after(commands: readonly MeshCommand[]): MeshState {
  const state = emptyMesh()
  for (const command of commands) applyMesh(state, command)
  return state
}

test('who founds a mesh together is in it from its first command on', (t) => {
  const state = emptyMesh()
  const others = [{ peer: bob, peerName: 'bob', addresses: ['/ip4/192.0.2.2/tcp/4710'] }]
  t.true(applyMesh(state, { ...found, others }).ok)
  t.deepEqual(state.peers[bob], {
    id: bob,
    name: 'bob',
    site: harbour,
    addresses: others[0]?.addresses ?? [],
  })
  applyMesh(state, token(2))
  t.true(applyMesh(state, admit(2, cora)).ok)
  t.deepEqual(meshState.decode(meshState.encode(state)), state)
  // Whoever of them leads next says it again.
  t.like(applyMesh(state, { ...found, others }), { ok: false, failure: { code: 'STALE' } })
})

test('tokens that have ended give way: revoked ones, then those that expired, then used ones, the oldest first', (t) => {
  const state = emptyMesh()
  applyMesh(state, found)
  const made = (id: number, expiresMs: number): MeshCommand =>
    ({ ...token(id), expiresMs, nowMs: 2_000 }) as MeshCommand
  for (let id = 1; id <= TOKENS_MAX; id++) applyMesh(state, made(id, id === 9 ? 1_500 : 90_000))
  const ended = [
    { kind: 'token-revoke', id: ulid(7) },
    { kind: 'token-revoke', id: ulid(4) },
    admit(3, bob),
  ] as MeshCommand[]
  for (const each of ended) t.true(applyMesh(state, each).ok)
  const more = { ...(made(1_000, 90_000) as MeshCommand & { kind: 'token-create' }), makesRoom: true }
  const before = meshCommand.decode(meshCommand.encode(more, ENDED_TOKENS - 1))
  t.like(applyMesh(state, before), { failure: { code: 'RATE_LIMITED' } }, 'as the version before does')
  const gone: string[] = []
  for (let id = 1_000; applyMesh(state, { ...more, id: ulid(id) }).ok; id++) {
    t.is(Object.keys(state.tokens).length, TOKENS_MAX)
    gone.push(...[9, 4, 7, 3].map(ulid).filter((each) => !state.tokens[each] && !gone.includes(each)))
  }
  t.deepEqual(gone, [4, 7, 9, 3].map(ulid))
  t.like(applyMesh(state, more), { failure: { retryAfterMs: 88_000 } }, 'when the first expires')
})
