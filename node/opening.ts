/**
 * How a group's log on this peer is taken up: as it was found, new, rebuilt, or put aside for an empty one under a new
 * member id. What is decided here is in force before it is on disk, and on disk before anything that depends on it leaves:
 * `first` goes with the log's first write, in one batch.
 *
 * A damaged log of several voters is put aside: the others hold what it held, and nobody counts on the new member's votes.
 * A damaged log that this peer decided on alone is rebuilt from the copy of the state (storage/raft-salvage.ts):
 *
 *   nothing is missing    the same member goes on, with the entries behind the copy
 *   entries are missing   `mend` makes of the copy and this host's grants what the state must be, if that is safe; the group
 *                         begins a new generation, with sessions and indexes of its own, so that nothing counts twice
 *   otherwise             it is put aside like one of several, and an operator decides: `godwit raft recover`
 *
 * A log of a feature level that this version does not know (protocols/features.ts) is not damaged: it is taken up as it stands,
 * and the group is halted here until a newer version goes on with it. Is it damaged as well, nothing is started or put aside.
 */
import type { Dice } from '../protocols/clock.ts'
import { nextGeneration, printGeneration } from '../protocols/epoch.ts'
import { GodwitError } from '../protocols/errors.ts'
import { FEATURE_LEVEL } from '../protocols/features.ts'
import type { PeerId } from '../protocols/ids.ts'
import { NOBODY } from '../protocols/raft/configuration.ts'
import {
  applyEntry,
  type Envelope,
  envelopeCodec,
  type Machine,
  newEnvelope,
} from '../protocols/raft/envelope.ts'
import { emptyLog, firstIndex } from '../protocols/raft/genesis.ts'
import { memberOf, newIncarnation } from '../protocols/raft/member.ts'
import type { Entry, Recovered, Snapshot } from '../protocols/raft/types.ts'
import { beginOps, type LogOwner, recover, recoverOwner } from '../storage/raft-log.ts'
import { asideNowOps, asideOps, clearOps, type Remains, remainsOf } from '../storage/raft-salvage.ts'
import type { Op, Store } from '../storage/store.ts'

/** `generation` is the one that begins with it. */
export type Mend<State> = (state: State, generation: number) => State | undefined

export type OpenTerms<State> = {
  readonly group: string
  readonly peer: PeerId
  readonly wallMs: number
  readonly dice: Dice
  /**
   * The state of a group of this peer alone, of whose newest entries some are lost: changed to what this host's own records
   * say. Undefined when others may have acted on what is lost.
   */
  readonly mend: Mend<State>
}

export type Opened = {
  readonly owner: LogOwner
  readonly recovered: Recovered
  readonly first: readonly Op[]
  readonly how: 'found' | 'new' | 'rebuilt' | 'quarantined'
  /** For people, when it was damaged. */
  readonly why: string
}

/** For the journal and the log; undefined when nothing was wrong. */
export function describeDamage(group: string, { how, why }: Pick<Opened, 'how' | 'why'>): string | undefined {
  if (how === 'found' || how === 'new') return undefined
  return `the log of group ${group} is ${how}: ${why}`.slice(0, 500)
}

/** For the journal, the log and `status`. */
export const describeHalt = (group: string, level: number): string =>
  `group ${group} is at feature level ${level}, this godwit knows levels up to ${FEATURE_LEVEL}: it applies nothing more of it, ` +
  'and goes on there once a newer godwit is installed'

export function openLog<State, Command>(
  store: Store,
  terms: OpenTerms<State>,
  machine: Machine<State, Command>,
): Opened {
  try {
    const owner = recoverOwner(store, terms.group)
    const recovered = recover(store, terms.group)
    if (owner !== undefined && recovered !== undefined)
      return { owner, recovered, first: [], how: 'found', why: '' }
    if (owner === undefined && recovered === undefined) return begun(terms, 0, [], { how: 'new', why: '' })
    throw new GodwitError({ code: 'DATA_CORRUPT', what: terms.group, why: 'its first record is missing' })
  } catch (error) {
    if (!(error instanceof GodwitError) || error.failure.code !== 'DATA_CORRUPT') throw error
    return damaged(store, terms, machine, error.failure.why)
  }
}

function damaged<State, Command>(
  store: Store,
  terms: OpenTerms<State>,
  machine: Machine<State, Command>,
  why: string,
): Opened {
  const { group, wallMs } = terms
  const remains = remainsOf(store, group)
  const reason = { atMs: wallMs, why: why.slice(0, 500), member: remains?.owner.member ?? '' }
  if (remains?.isWhole === true) {
    const { owner, snapshot, entries, term } = remains
    const last = entries.at(-1)?.index ?? snapshot.index
    const recovered = { hardState: { term, vote: owner.member, commit: last }, snapshot, entries }
    const first = [
      ...asideOps(store, group, reason, { keepCopy: true }),
      ...beginOps(group, owner, recovered),
    ]
    return { owner, recovered, first, how: 'rebuilt', why: `${why}; nothing is lost` }
  }
  const aside = asideOps(store, group, reason)
  const mended = remains === undefined ? undefined : mend(terms, machine, remains)
  if (mended !== undefined) {
    const { owner, recovered } = mended
    const first = [...aside, ...beginOps(group, owner, recovered)]
    return {
      owner,
      recovered,
      first,
      how: 'rebuilt',
      why: `${why}; its newest entries are lost, and what this host's grants say was put in their place`,
    }
  }
  const generation = remains?.owner.generation ?? generationOf(store, group)
  const then =
    remains === undefined
      ? `it comes back empty, and is filled by the others; if nobody else votes in it: ${without(group)}`
      : `it decided alone, and its newest entries are lost: godwit raft recover --group ${group}`
  return begun(terms, generation, aside, { how: 'quarantined', why: `${why}; ${then}` })
}

/** What is left to an operator when the only log of a group is gone, and the copy of its state too. */
const without = (group: string): string =>
  group === 'mesh'
    ? 'godwit raft snapshot restore FILE'
    : `godwit raft recover --group ${group} on a peer of another site that has a copy (raft list), or raft snapshot restore FILE`

/** The newest state that a group's log on this peer can lead to; undefined when there is none, or it is damaged. */
export function recoveredState<State, Command>(
  store: Store,
  group: string,
  machine: Machine<State, Command>,
): State | undefined {
  try {
    const found = recover(store, group)
    return found === undefined ? undefined : replayed(machine, found.snapshot, found.entries).state
  } catch (error) {
    if (error instanceof GodwitError && error.failure.code === 'DATA_CORRUPT') return undefined
    throw error
  }
}

function replayed<State, Command>(
  machine: Machine<State, Command>,
  { index: from, data: held }: Snapshot,
  entries: readonly Entry[],
): Envelope<State> {
  const envelope = held.length === 0 ? newEnvelope(machine.empty()) : envelopeCodec(machine).decode(held)
  for (const { index, kind, data } of entries)
    if (index > from && kind === 'normal' && data.length > 0) replay(envelope, machine, index, data)
  return envelope
}

/** Applies an entry of a log that is read. @throws GodwitError FEATURE_UNKNOWN: it is for a newer version to read. */
export function replay<State, Command>(
  envelope: Envelope<State>,
  machine: Machine<State, Command>,
  index: number,
  data: Uint8Array,
): void {
  const applied = applyEntry(envelope, machine, index, data)
  if (applied.kind === 'unknown')
    throw new GodwitError({ code: 'FEATURE_UNKNOWN', level: applied.level, known: FEATURE_LEVEL })
}

/** The state as it was, with what is left behind the copy, as the first of a new generation. */
function mend<State, Command>(
  { peer, dice, mend: mended }: OpenTerms<State>,
  machine: Machine<State, Command>,
  { owner, snapshot, entries, term }: Remains,
): Pick<Opened, 'owner' | 'recovered'> | undefined {
  if (snapshot.configuration.learners.length > 0) return undefined
  const envelope = replayed(machine, snapshot, entries)
  const generation = nextGeneration(owner.generation, dice)
  const state = mended(envelope.state, generation)
  if (state === undefined) return undefined
  const { clockMs, timing, level } = envelope
  const member = memberOf(peer, newIncarnation(dice))
  const index = firstIndex(generation)
  return {
    owner: { member, generation },
    recovered: {
      hardState: { term: term + 1, vote: '', commit: index },
      snapshot: {
        index,
        term: term + 1,
        configuration: { ...NOBODY, voters: [member] },
        data: envelopeCodec(machine).encode({ ...newEnvelope(state), clockMs, timing, level }),
      },
      entries: [],
    },
  }
}

/**
 * The group has begun anew without this log, whose records are `held`: a new member of its new generation takes its place. An
 * empty one is not put aside.
 */
export function supersede(
  terms: Pick<OpenTerms<never>, 'group' | 'peer' | 'dice' | 'wallMs'>,
  owner: LogOwner,
  held: Recovered,
  generation: number,
): Opened {
  const { group, wallMs: atMs } = terms
  // Of a newcomer, or of one whose damaged log was put aside already: that stays there.
  const isEmpty = held.snapshot.index === 0 && held.entries.length === 0
  if (isEmpty) return begun(terms, generation, clearOps(group), { how: 'new', why: '' })
  const why = `the group began generation ${printGeneration(generation)} without it`
  const aside = asideNowOps(group, { atMs, why, member: owner.member }, owner, held)
  return begun(terms, generation, aside, { how: 'quarantined', why })
}

function begun(
  { group, peer, dice }: Pick<OpenTerms<never>, 'group' | 'peer' | 'dice'>,
  generation: number,
  before: readonly Op[],
  said: Pick<Opened, 'how' | 'why'>,
): Opened {
  const owner = { member: memberOf(peer, newIncarnation(dice)), generation }
  const recovered = emptyLog()
  return { owner, recovered, first: [...before, ...beginOps(group, owner, recovered)], ...said }
}

function generationOf(store: Store, group: string): number {
  try {
    return recoverOwner(store, group)?.generation ?? 0
  } catch {
    return 0
  }
}
