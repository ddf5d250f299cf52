/** What `peer replace` makes of a folder, and what a peer then believes of it. */
import test from 'ava'
import { Doubt } from '../../../node/binding/doubt.ts'
import { replacement } from '../../../node/binding/replacing.ts'
import { foundAlone, MESH_GROUP, siteGroupOf } from '../../../node/founding.ts'
import { ok } from '../../../protocols/outcome.ts'
import { key, pastPrefix } from '../../../storage/keyspace.ts'
import { recoverOwner } from '../../../storage/raft-log.ts'
import { recoverReason } from '../../../storage/raft-salvage.ts'
import {
  bindingIn,
  doubtedIn,
  grant,
  type Identity,
  knownPeer,
  replacedIn,
} from '../../../storage/records.ts'
import type { Op, Store } from '../../../storage/store.ts'
import { World } from '../../../simulator/world.ts'

const peer = 'Simpeeraaaaaaaaa'
const other = 'Simpeeraaaaaaaab'
const vm = '0a1b2c3d-01JD0000000000000000000VM1'
const identity: Identity = {
  format: 1,
  mesh: '01JD00000000000000000MESH1',
  peer,
  peerName: 'crane',
  site: '0a1b2c3d',
  siteName: 'harbour',
  founds: true,
}
const facts = { machine: 'm', product: '', fileSystem: '', folder: 'inode 1' }
const dice = new World(1).random('dice')
const held: Op = {
  kind: 'put',
  key: key('grant', vm),
  value: grant.encode({
    vm,
    name: 'web',
    epoch: [0, 1, 0, 1],
    terms: 'held',
    spec: '{}',
    disks: [],
    wanted: 'running',
    deleting: false,
    boot: '',
  }),
}
const knows = (id: string): Op => ({
  kind: 'put',
  key: key('peer', id),
  value: knownPeer.encode({ id, addresses: [] }),
})

/** A store whose writes are there at once. */
function storeOf(ops: readonly Op[]): Store {
  const pairs = new Map<string, Uint8Array>()
  const store: Store = {
    recovered: (prefix) => {
      const end = pastPrefix(prefix)
      return [...pairs].filter(([at]) => at >= prefix && at < end).toSorted(([a], [b]) => (a < b ? -1 : 1))
    },
    write: (batch, _durable, done) => {
      for (const op of batch) {
        if (op.kind === 'put') pairs.set(op.key, op.value)
        else if (op.kind === 'del') pairs.delete(op.key)
        else for (const at of pairs.keys()) if (at >= op.gte && at < op.lt) pairs.delete(at)
      }
      done(ok(undefined))
    },
  }
  store.write(ops, true, () => {})
  return store
}

const GROUPS = [MESH_GROUP, siteGroupOf(identity)]
const founded = (...more: Op[]): Store => storeOf([...foundAlone(GROUPS, peer, dice), held, ...more])

function replace(store: Store, incarnation = 1): ReturnType<typeof replacement>['replacement'] {
  const mark = { id: '01JD0000000000000000B1ND1A', incarnation, counter: 9 }
  const outside = { kind: 'mark', mark } as const
  const made = replacement(store, identity, { outside, facts, wallMs: 1_800_000_000_000 }, dice)
  store.write(made.ops, true, () => {})
  return made.replacement
}

test('a peer that is alone in the world begins its groups anew, from what it has', (t) => {
  const store = founded(knows(peer))
  const before = GROUPS.map((group) => recoverOwner(store, group))
  const { groups, incarnation, vms, why } = replace(store)
  t.deepEqual(
    groups.map(({ fate }) => fate),
    ['begun anew', 'begun anew'],
  )
  t.is(incarnation, 2)
  t.deepEqual(vms, ['web'])
  t.regex(why, /knows of no binding/)
  for (const [index, group] of GROUPS.entries()) {
    const owner = recoverOwner(store, group)
    t.not(owner?.member, before[index]?.member)
    t.true((owner?.generation ?? 0) > 0)
  }
  t.like(bindingIn(store), { incarnation: 2, counter: 1, folder: 'inode 1' })
})

test('a mesh that others know of is not begun anew by who had its only vote', (t) => {
  const store = founded(knows(peer), knows(other))
  const { groups } = replace(store)
  t.deepEqual(groups, [
    { group: 'mesh', fate: 'stopped' },
    { group: 'site/harbour', fate: 'begun anew' },
  ])
  t.is(recoverOwner(store, MESH_GROUP), undefined)
  t.is(recoverReason(store, MESH_GROUP)?.why, 'this peer was replaced')
})

test('each replacement is of a higher incarnation, whatever the folder has forgotten', (t) => {
  const store = founded(knows(peer))
  t.is(replace(store, 7).incarnation, 8)
  t.is(replace(store).incarnation, 9)
  t.is(replacedIn(store)?.incarnation, 9)
})

/** A peer that was replaced, and what its groups say. */
function doubting(store: Store) {
  const said = { applied: { mesh: 0, site: 0 }, current: false, moving: [] as string[], reads: 0 }
  const doubt = new Doubt(store, {
    applied: (group) => said.applied[group],
    read: (_group, done) => {
      said.reads++
      done(ok(5))
    },
    isCurrent: () => said.current,
    moving: () => said.moving,
    changed: () => {},
  })
  return { doubt, said }
}

test('nothing is begun until both groups are as new as the replacement, in any later life either', (t) => {
  const store = founded(knows(peer))
  replace(store)
  const { doubt, said } = doubting(store)
  t.regex(doubt.unheard() ?? '', /has not heard the site's group since/)
  doubt.look()
  said.applied = { mesh: 4, site: 5 }
  doubt.look()
  t.regex(doubt.unheard() ?? '', /the mesh's group/)
  said.applied.mesh = 5
  doubt.look()
  t.is(doubt.unheard(), undefined)
  t.is(said.reads, 2)
  // The next life applies its log anew, from where it was told of a snapshot.
  const next = doubting(store)
  next.said.applied = { mesh: 5, site: 4 }
  next.doubt.look()
  t.regex(next.doubt.unheard() ?? '', /the site's group/)
  t.is(next.said.reads, 0)
})

test('a grant that came with the folder is doubted until it is current, and so is a VM that was moving', (t) => {
  const store = founded(knows(peer))
  replace(store)
  const { doubt, said } = doubting(store)
  const moving = `${vm.slice(0, -1)}2`
  said.applied = { mesh: 9, site: 9 }
  said.moving = [moving]
  doubt.look()
  t.regex(doubt.of(vm) ?? '', /no log has confirmed it/)
  t.is(doubt.unheard(), undefined)
  t.truthy(doubt.of(moving))
  doubt.look()
  t.truthy(doubt.of(vm))
  t.deepEqual(doubtedIn(store), [vm, moving])
  said.current = true
  said.moving = []
  doubt.look()
  t.is(doubt.of(vm), undefined)
  t.deepEqual(doubtedIn(store), [])
  t.is(doubting(store).doubt.of(moving), undefined)
})

test('a folder that was never replaced is not doubted', (t) => {
  const { doubt, said } = doubting(founded())
  doubt.look()
  t.deepEqual([doubt.unheard(), doubt.of(vm), said.reads], [undefined, undefined, 0])
})
