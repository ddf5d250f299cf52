/**
 * What goes to disk, and what may leave only after it. One write is in flight at a time, unless the configuration says
 * more; everything that comes up meanwhile shares the next one (group commit). Writes are done in the order in which
 * they were handed over. A message that depends on the disk leaves with the token of the write that makes everything
 * before it durable, or waits here until there is such a write.
 *
 * ABA: entries of a write in flight may be replaced before it completes. Its completion then counts only up to the
 * first replaced one, because `upTo` was lowered when that happened.
 */
import type { Message } from './messages.ts'
import * as logs from './log.ts'
import { currentHardState, type Raft, type Write } from './state.ts'
import type { Entry, HardState, RaftEffect, Snapshot } from './types.ts'

/** Every change of the log's end goes through here, so that a write in flight learns of it. */
export function appendToLog(raft: Raft, entries: readonly Entry[]): void {
  const first = entries[0]
  if (first === undefined) return
  replaced(raft, first.index)
  logs.append(raft.log, entries)
}

/** Takes a snapshot of another peer in place of the whole log. */
export function installSnapshot(raft: Raft, snapshot: Snapshot): void {
  replaced(raft, 0)
  logs.replace(raft.log, snapshot)
  raft.writing.snapshot = { snapshot, installs: true }
}

function replaced({ writing }: Raft, from: number): void {
  for (const write of writing.inFlight) write.upTo = Math.min(write.upTo, from - 1)
  // Entries that never get to the disk are never acknowledged. (The election of whoever replaced them makes sure that
  // nobody could count on them anyhow; but then what we say would be true by an argument, and not by itself.)
  writing.waiting = writing.waiting.filter((message) => message.kind !== 'MsgAppResp' || message.index < from)
}

/** @returns Whether this was a write in flight; its entries are stable, its snapshot is to be restored. */
export function stored(raft: Raft, token: number): boolean {
  const { writing } = raft
  const at = writing.inFlight.findIndex((write) => write.token === token)
  if (at === -1) return false
  for (const write of writing.inFlight.splice(0, at + 1)) isDone(raft, write)
  writing.promised = writing.promised.filter(({ after }) => after > token)
  return true
}

function isDone({ writing, log, out }: Raft, { hardState, upTo, installs }: Write): void {
  writing.durable = hardState
  log.stable = Math.max(log.stable, upTo)
  if (installs === undefined) return
  out.restore = installs
  log.applying = log.applied = installs.index
}

/** The write that is due, if there is room for one, and the messages that wait for it or for those in flight. */
export function flushWrites(raft: Raft): RaftEffect[] {
  const { writing, config } = raft
  const effects: RaftEffect[] = []
  const due = isDue(raft)
  if (due && writing.inFlight.length < (config.writesInFlight ?? 1)) effects.push(nextWrite(raft))
  else if (due) return thin(raft)
  const after = writing.inFlight.at(-1)?.token
  for (const message of writing.waiting) {
    if (after === undefined) effects.push({ kind: 'send', message })
    else if (config.repeatPromises === true || !isSaid(message, promises(raft))) {
      writing.promised.push({ after, message })
      effects.push({ kind: 'send', message, after })
    }
  }
  writing.waiting = []
  return effects
}

const promises = ({ writing }: Raft): Message[] => writing.promised.map(({ message }) => message)

/** Entries up to here are on disk or on their way there. */
const handedTo = ({ log, writing }: Raft): number =>
  Math.max(log.stable, ...writing.inFlight.map(({ upTo }) => upTo))

/**
 * A change of `commit` alone is not worth an fsync: a restart learns it again. It rides along with the next write. Unless it
 * is of a change of members: who was replaced by it may be gone for good, and a restart that goes by the members of before
 * could need it to learn anything at all.
 */
function isDue(raft: Raft): boolean {
  const { term, vote, log, writing, configurations } = raft
  return (
    (configurations.at(-1)?.index ?? 0) > writing.handed.commit ||
    term !== writing.handed.term ||
    vote !== writing.handed.vote ||
    writing.snapshot !== undefined ||
    logs.lastIndex(log) > handedTo(raft)
  )
}

function nextWrite(raft: Raft): RaftEffect {
  const { writing, log } = raft
  const token = writing.nextToken++
  const hardState = currentHardState(raft)
  const entries = logs.slice(log, handedTo(raft) + 1, logs.lastIndex(log))
  const installs = writing.snapshot?.installs === true ? writing.snapshot.snapshot : undefined
  const first = entries[0]
  const effect: RaftEffect = {
    kind: 'store',
    token,
    entries,
    ...(isSame(hardState, writing.handed) ? {} : { hardState }),
    ...(writing.snapshot === undefined
      ? {}
      : { snapshot: writing.snapshot.snapshot, compactTo: log.base.index }),
    ...(installs !== undefined
      ? { dropFrom: 0 }
      : first !== undefined && first.index <= writing.storedTo
        ? { dropFrom: first.index }
        : {}),
  }
  writing.inFlight.push({ token, hardState, upTo: logs.lastIndex(log), installs })
  writing.handed = hardState
  writing.storedTo = logs.lastIndex(log)
  writing.snapshot = undefined
  return effect
}

const isSame = (a: HardState, b: HardState): boolean =>
  a.term === b.term && a.vote === b.vote && a.commit === b.commit

/** While a disk is stuck the same promises come up again and again: each is kept once. */
function thin({ writing, config }: Raft): RaftEffect[] {
  if (config.repeatPromises === true) return []
  writing.waiting = writing.waiting.filter((message, at) => !isSaid(message, writing.waiting.slice(at + 1)))
  return []
}

const isSaid = (message: Message, others: readonly Message[]): boolean =>
  others.some((other) => {
    if (other.kind !== message.kind || other.to !== message.to || other.term !== message.term) return false
    if (other.kind === 'MsgAppResp' && message.kind === 'MsgAppResp') return other.index >= message.index
    if (other.kind === 'MsgVoteResp' && message.kind === 'MsgVoteResp') return other.reject === message.reject
    return other.kind === 'MsgVote'
  })
