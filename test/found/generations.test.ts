/** What a review found in how a group begins anew. */
import test from 'ava'
import { nextGeneration } from '../../protocols/epoch.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { newEnvelope } from '../../protocols/raft/envelope.ts'
import { emptyLog, firstIndex, genesis } from '../../protocols/raft/genesis.ts'
import { memberOf } from '../../protocols/raft/member.ts'
import { MESH } from '../../node/agreement.ts'
import { MESH_GROUP } from '../../node/founding.ts'
import { supersede } from '../../node/opening.ts'
import { type Remains, successor } from '../../node/recovering.ts'
import { random } from '../../simulator/random.ts'
import { key } from '../../storage/keyspace.ts'

const peers = ['12D3KooWA', '12D3KooWB', '12D3KooWC'] as PeerId[]

const remains = (peer: PeerId): Remains => ({
  owner: { member: memberOf(peer, '1'), generation: 0 },
  index: 100,
  term: 3,
  configuration: genesis(peers.map((each) => memberOf(each, '1'))).snapshot.configuration,
  envelope: newEnvelope(MESH.empty()),
})

// Two survivors of one log were both recovered, and each named its sessions by the same indexes. When one gave way to the other, a
// command in its session came by the answer of another peer's: acknowledged, and never done.
test('the entries of rival generations have no index in common, so that their sessions have no name in common', (t) => {
  const nothing = { recovered: () => [] }
  const around = { mesh: undefined, floor: 0, kind: 'recover', wallMs: 0 }
  for (let seed = 1; seed <= 100; seed++) {
    const [a, b] = peers.slice(0, 2).map((peer) => {
      const self = { peer, site: 'site' as never }
      return successor(nothing, MESH_GROUP, self, remains(peer), around, random(seed, peer))
    })
    if (a === undefined || b === undefined) return t.fail()
    t.not(a.generation, b.generation)
    t.true(Math.abs(a.index - b.index) >= 2 ** 24, `${a.index} and ${b.index}`)
  }
})

// A host takes no word of its site's log that is older, by its index, than what its grant was written by. A generation that was begun
// from a log put aside two generations ago had lower indexes than the one between: stops and starts were agreed on, and never done.
test('a later generation is higher by its index, whatever it was begun from, and leaves room for the entries of the one before', (t) => {
  const dice = random(1, 'generations')
  let generation = 0
  for (let n = 1; n <= 2_000; n++) {
    const before = firstIndex(generation)
    generation = nextGeneration(generation, n % 2 === 0 ? dice : () => (n % 4 === 1 ? 0 : 1 - 2 ** -32))
    t.true(firstIndex(generation) - before >= 2 ** 40)
  }
  t.true(firstIndex(generation) + 2 ** 40 < 2 ** 52)
})

// A peer whose damaged log had been put aside was empty when it heard of a generation begun elsewhere, and put that empty log in the
// place of the damaged one: the last copy of the state, if the generation was lost too. A newcomer was told of damage likewise.
test('an empty log does not take the place of what was put aside, and is no damage', (t) => {
  const terms = { group: MESH_GROUP, peer: peers[0] as PeerId, dice: random(1, 'supersede'), wallMs: 0 }
  const owner = { member: memberOf(terms.peer, '2'), generation: 0 }
  const {
    first,
    how,
    owner: next,
  } = supersede(
    terms,
    owner,
    emptyLog(),
    nextGeneration(0, () => 0),
  )
  const aside = key('quarantine', MESH_GROUP, '')
  t.deepEqual(
    first.filter((op) => (op.kind === 'clear' ? op.gte : op.key).startsWith(aside)),
    [],
  )
  t.true(first.some((op) => op.kind === 'del' && op.key === key('raftSnapshot', MESH_GROUP)))
  t.is(how, 'new')
  t.not(next.member, owner.member)
  const held = { ...emptyLog(), entries: genesis([owner.member]).entries }
  t.is(
    supersede(
      terms,
      owner,
      held,
      nextGeneration(0, () => 0),
    ).how,
    'quarantined',
  )
})

// Who had not said what it holds was forgotten when its peer was removed, or the group recovered a second time. A move that it had taken
// in the lost log could then be cancelled, and the VM ran at its source too.
test('who was silent in one generation is asked in the next one as well', (t) => {
  const gone = peers[2] as PeerId
  const left = remains(peers[0] as PeerId)
  left.envelope.state.recovery = { generation: nextGeneration(0, () => 0), unheard: { [gone]: true } }
  const around = { mesh: undefined, floor: 0, kind: 'recover', wallMs: 0 }
  const self = { peer: peers[0] as PeerId, site: 'site' as never }
  successor({ recovered: () => [] }, MESH_GROUP, self, left, around, random(1, 'again'))
  t.true(left.envelope.state.recovery?.unheard[gone])
})
