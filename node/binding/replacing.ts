/**
 * `peer replace`: a data folder is taken up again by somebody's word, as a new incarnation of its peer. Pure; the folder
 * is opened and written by replace-offline.ts.
 *
 *   bound anew   another binding, of the next incarnation: what was bound before is found out wherever it starts
 *   logs         put aside, so that nobody counts on a vote that this peer may have given twice. It comes back to each
 *                group as another member, and is filled by the others. A group that nobody else can know of begins a new
 *                generation from what the folder has
 *   grants       doubted, until the log that gave them has confirmed them (doubt.ts)
 *   promises     kept: they only forbid
 */
import type { Dice } from '../../protocols/clock.ts'
import { newUlid } from '../../protocols/ids.ts'
import { membersOf } from '../../protocols/raft/configuration.ts'
import { peerOf } from '../../protocols/raft/member.ts'
import { key } from '../../storage/keyspace.ts'
import { type Recoverable, recoverOwner } from '../../storage/raft-log.ts'
import { asideOps } from '../../storage/raft-salvage.ts'
import {
  type Binding,
  bindingIn,
  bindingOp,
  doubtOp,
  type Facts,
  grant as grantRecord,
  type Identity,
  replacedIn,
  replacedOp,
} from '../../storage/records.ts'
import type { Op } from '../../storage/store.ts'
import { peersOfSite } from '../catalog/mesh.ts'
import type { SiteState } from '../catalog/site.ts'
import { MESH_GROUP, siteGroupOf } from '../founding.ts'
import { meshIn, readable, type Remains, remainsIn, successor } from '../recovering.ts'
import { type Outside, judge } from './judge.ts'

/** What becomes of this peer's log of a group. */
type GroupFate = {
  readonly group: string
  /** `filled`: by the others. `begun anew`: nobody else knows of it. `stopped`: it had the only vote, others have copies. */
  readonly fate: 'filled' | 'begun anew' | 'stopped' | 'none'
}

export type Replacement = {
  readonly peer: string
  readonly incarnation: number
  /** Why the folder was not to be believed; empty when it was. */
  readonly why: string
  readonly groups: readonly GroupFate[]
  /** VMs that it holds grants for. */
  readonly vms: readonly string[]
}

export type Terms = {
  readonly outside: Outside
  readonly facts: Facts
  readonly wallMs: number
}

/** Journals of an incarnation are numbered from here, so that none that the folder has forgotten is begun again. */
const BOOTS_PER_INCARNATION = 1_000_000

export function replacement(
  store: Recoverable,
  identity: Identity,
  { outside, facts, wallMs }: Terms,
  dice: Dice,
): { replacement: Replacement; binding: Binding; ops: Op[] } {
  const before = bindingIn(store)
  const verdict = judge(before, outside, facts)
  const mark = outside.kind === 'mark' ? outside.mark.incarnation : 1
  const incarnation = Math.max(before?.incarnation ?? 1, mark, replacedIn(store)?.incarnation ?? 1) + 1
  const binding = { id: newUlid(wallMs, dice), incarnation, counter: 1, ...facts }
  const grants = store.recovered(key('grant')).map(([, value]) => grantRecord.decode(value))
  const groups = logsIn(store, identity).map((group) => fateOf(store, identity, group))
  const ops = groups.flatMap(({ group, fate, remains }): Op[] => {
    if (fate === 'none') return []
    if (fate === 'begun anew' && remains !== undefined) {
      const around = { mesh: meshIn(store), floor: 0, kind: 'replace', wallMs }
      return [...successor(store, group, identity, remains, around, dice).ops]
    }
    return asideOps(store, group, { atMs: wallMs, why: 'this peer was replaced', member: '' })
  })
  return {
    replacement: {
      peer: identity.peerName,
      incarnation,
      why: verdict.kind === 'mismatch' ? verdict.why : '',
      groups: groups.map(({ group, fate }) => ({ group, fate })),
      vms: grants.map(({ name }) => name),
    },
    binding,
    ops: [
      ...ops,
      ...grants.map(({ vm }) => doubtOp(vm)),
      replacedOp({ incarnation, atMs: wallMs, floors: { mesh: 0, site: 0 }, moves: 'unknown' }),
      {
        kind: 'put',
        key: key('meta', 'boots'),
        value: Buffer.from(String(incarnation * BOOTS_PER_INCARNATION)),
      },
      bindingOp(binding),
    ],
  }
}

/** Of the own groups, and of those of other sites that this peer keeps copies of. */
function logsIn(store: Recoverable, identity: Identity): string[] {
  const prefix = key('raftMember', '')
  const found = store.recovered(prefix).map(([at]) => at.slice(prefix.length))
  return [...new Set([MESH_GROUP, siteGroupOf(identity), ...found])]
}

function fateOf(
  store: Recoverable,
  identity: Identity,
  group: string,
): GroupFate & { readonly remains?: Remains } {
  if (readable(() => recoverOwner(store, group)) === undefined && !hasLog(store, group))
    return { group, fate: 'none' }
  const remains = readable(() => remainsIn(store, group))
  if (remains === undefined || remains.owner === undefined) return { group, fate: 'filled' }
  const { member } = remains.owner
  const { voters, votersOutgoing } = remains.configuration
  const decides = [...voters, ...votersOutgoing].every((each) => each === member) && voters.length > 0
  if (!decides) return { group, fate: 'filled' }
  return isAlone(store, identity, group, remains)
    ? { group, fate: 'begun anew', remains }
    : { group, fate: 'stopped' }
}

const hasLog = (store: Recoverable, group: string): boolean =>
  store.recovered(key('raftMember', group)).length > 0

/** Nobody else was ever admitted where the group's log goes: to the site, or to the mesh. */
function isAlone(store: Recoverable, identity: Identity, group: string, remains: Remains): boolean {
  const { peer, site } = identity
  if (membersOf(remains.configuration).some((member) => peerOf(member) !== peer)) return false
  if (group !== MESH_GROUP && group !== siteGroupOf(identity)) return false
  const mesh = meshIn(store)
  if (group === MESH_GROUP) return store.recovered(key('peer')).every(([at]) => at === key('peer', peer))
  const hosts = Object.keys((remains.envelope.state as SiteState).hosts)
  return [...hosts, ...(mesh === undefined ? [] : peersOfSite(mesh, site))].every((each) => each === peer)
}
