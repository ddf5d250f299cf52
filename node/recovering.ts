/**
 * `raft recover` and `raft snapshot restore`: a group begins a new generation from what one member has, with that member as
 * its only voter. Pure; the data folder is opened and written by node/offline.ts.
 *
 *   kept     everything up to the last entry that this member holds, or that the file does
 *   lost     what only others held. Nothing of it ends a grant: hosts show theirs (catalog/recovery.ts)
 *   raised   generation, above all that is known; index with it, past anything that a lost log or a rival may use:
 *            sessions are named by it; member, because its log of before is put aside like everybody's
 *
 * Open join tokens are revoked: one of them may have been used in what is lost.
 */
import type { Dice } from '../protocols/clock.ts'
import { nextGeneration, printGeneration } from '../protocols/epoch.ts'
import { failureOf } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { type Envelope, envelopeCodec, type Machine, newEnvelope } from '../protocols/raft/envelope.ts'
import { decodeChange, NOBODY, votersOf } from '../protocols/raft/configuration.ts'
import { firstIndex } from '../protocols/raft/genesis.ts'
import { memberOf, type MemberId, newIncarnation } from '../protocols/raft/member.ts'
import { changed } from '../protocols/raft/confchange.ts'
import type { Configuration, Recovered } from '../protocols/raft/types.ts'
import { beginOps, type LogOwner, recover, type Recoverable, recoverOwner } from '../storage/raft-log.ts'
import { asideOps } from '../storage/raft-salvage.ts'
import type { Identity } from '../storage/records.ts'
import type { SnapshotFile } from '../storage/snapshot-file.ts'
import type { Op } from '../storage/store.ts'
import { MESH, SITE } from './agreement.ts'
import { type MeshState, peersOfSite, siteNamed } from './catalog/mesh.ts'
import { recovered as recovering } from './catalog/recovery.ts'
import type { SiteState } from './catalog/site.ts'
import { MESH_GROUP } from './founding.ts'
import { replay } from './opening.ts'

/** A log, as far as it can be read, and what its entries make of the state. */
export type Remains = {
  readonly owner: LogOwner | undefined
  readonly index: number
  readonly term: number
  readonly configuration: Configuration
  readonly envelope: Envelope<MeshState | SiteState>
}

type State = MeshState | SiteState
const machineOf = (group: string): Machine<State, never> =>
  (group === MESH_GROUP ? MESH : SITE) as unknown as Machine<State, never>

/** Everything that a member's log says, the entries that were never agreed on included: they are all that is left. */
export function remainsOf(
  group: string,
  owner: LogOwner | undefined,
  { hardState, snapshot, entries }: Recovered,
): Remains {
  const machine = machineOf(group)
  const envelope =
    snapshot.data.length === 0 ? newEnvelope(machine.empty()) : envelopeCodec(machine).decode(snapshot.data)
  let { configuration } = snapshot
  for (const entry of entries) {
    if (entry.index <= snapshot.index) continue
    if (entry.kind === 'configuration') {
      const after = changed(configuration, decodeChange(entry.data))
      if ('configuration' in after) configuration = after.configuration
    } else if (entry.data.length > 0) replay(envelope, machine, entry.index, entry.data)
  }
  const last = entries.at(-1)
  return {
    owner,
    index: Math.max(last?.index ?? 0, snapshot.index),
    term: Math.max(hardState.term, last?.term ?? 0, snapshot.term),
    configuration,
    envelope,
  }
}

/** What a data folder has of a group; undefined when nothing. @throws GodwitError DATA_CORRUPT */
export function remainsIn(store: Recoverable, group: string): Remains | undefined {
  const owner = recoverOwner(store, group)
  const found = recover(store, group)
  return owner === undefined || found === undefined ? undefined : remainsOf(group, owner, found)
}

/** This peer's own copy of the mesh's state, if it can be read. */
export const meshIn = (store: Recoverable): MeshState | undefined =>
  readable(() => remainsIn(store, MESH_GROUP))?.envelope.state as MeshState | undefined

/** A log that is damaged is no reason to refuse what is to take its place. */
export function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (failureOf(error).code !== 'DATA_CORRUPT') throw error
    return undefined
  }
}

export const remainsOfFile = (file: SnapshotFile, owner: LogOwner | undefined): Remains => ({
  owner: { member: owner?.member ?? '', generation: Math.max(owner?.generation ?? 0, file.generation) },
  index: file.index,
  term: file.term,
  configuration: file.configuration,
  envelope: envelopeCodec(machineOf(file.group)).decode(file.data),
})

export type Successor = {
  readonly generation: number
  readonly index: number
  readonly member: MemberId
  /** Voters whose logs count no more. */
  readonly lost: readonly MemberId[]
  readonly ops: readonly Op[]
}

type Around = {
  readonly mesh: MeshState | undefined
  /** A generation that is known of, whatever the remains say. */
  readonly floor: number
  /** What the operator typed. */
  readonly kind: string
  readonly wallMs: number
  /** It comes from what was put aside: that stays there, as the log that it replaces holds nothing. */
  readonly isAside?: boolean
}

/** The batch that makes the new generation of what is left. `mesh`: this peer's own copy of that group's state. */
export function successor(
  store: Recoverable,
  group: string,
  { peer, site }: Pick<Identity, 'peer' | 'site'>,
  remains: Remains,
  { mesh, floor, kind, wallMs, isAside = false }: Around,
  dice: Dice,
): Successor {
  const of = siteOf(group, mesh, site)
  // Begun with knowledge of it: the mesh takes it for its successor, and for no rival.
  const over = mesh?.generations?.[of ?? '']?.generation ?? 0
  const generation = nextGeneration(Math.max(remains.owner?.generation ?? 0, floor, over), dice)
  const member = memberOf(peer, newIncarnation(dice))
  const index = firstIndex(generation)
  const term = remains.term + 1
  const { envelope } = remains
  const state = envelope.state
  state.recovery = recovering(generation, hostsOf(group, envelope.state, mesh, of), state.recovery, {
    by: member,
    over,
  })
  if ('tokens' in state)
    for (const token of Object.values(state.tokens)) if (token.state === 'open') token.state = 'revoked'
  const configuration = { ...NOBODY, voters: [member] }
  // Sessions were the lost generation's: whoever asks opens one anew.
  const { clockMs, timing, level } = envelope
  const data = envelopeCodec(machineOf(group)).encode({
    ...newEnvelope<State>(state),
    clockMs,
    timing,
    level,
  })
  const why = `${kind}: generation ${printGeneration(generation)} begins without it`
  const reason = { atMs: wallMs, why, member: remains.owner?.member ?? '' }
  const aside = isAside ? [] : asideOps(store, group, reason)
  const begin = beginOps(
    group,
    { member, generation },
    {
      hardState: { term, vote: '', commit: index },
      snapshot: { index, term, configuration, data },
      entries: [],
    },
  )
  const lost = votersOf(remains.configuration).filter((each) => each !== remains.owner?.member)
  return { generation, index, member, lost, ops: [...aside, ...begin] }
}

/** The site whose group it is, this peer's own or one of which it keeps a copy; undefined for the mesh's. */
function siteOf(group: string, mesh: MeshState | undefined, own: string): string | undefined {
  if (group === MESH_GROUP) return undefined
  return (mesh && siteNamed(mesh, group.slice('site/'.length))?.id) ?? own
}

/** Everybody who may hold a grant that the lost log gave. */
function hostsOf(group: string, state: State, mesh: MeshState | undefined, site = ''): PeerId[] {
  if (group === MESH_GROUP) return Object.keys((state as MeshState).peers)
  const admitted = mesh === undefined ? [] : peersOfSite(mesh, site)
  return [...new Set([...Object.keys((state as SiteState).hosts), ...admitted])].toSorted()
}
