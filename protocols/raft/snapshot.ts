/**
 * Snapshots: made here to keep the log short, and sent in parts to followers for which the entries are gone. A transfer
 * goes on from the last part that was acknowledged; a restarted receiver says that it has none, and it begins anew.
 */
import { crc32 } from 'node:zlib'
import type { MemberId } from './member.ts'
import {
  LOG_ENTRIES_KEPT,
  SNAPSHOT_BYTES_MAX,
  SNAPSHOT_PART_BYTES,
  SNAPSHOT_PARTS_IN_FLIGHT,
} from '../limits.ts'
import { acknowledge, commitTo } from './follower.ts'
import * as logs from './log.ts'
import type { MessageOf } from './messages.ts'
import { becomeSnapshot, type Progress, type Transfer } from './progress.ts'
import { type Incoming, type Raft, send } from './state.ts'
import type { Snapshot } from './types.ts'
import { installSnapshot } from './writing.ts'

/** The state machine's own snapshot. One that is too old, too new or too large changes nothing. */
export function makeSnapshot(raft: Raft, index: number, data: Uint8Array): void {
  const { log, snapshot, configurations } = raft
  const term = logs.termAt(log, index)
  if (index <= snapshot.index || index > log.applied || term === undefined) return
  if (data.length > SNAPSHOT_BYTES_MAX) return
  const configuration =
    configurations.findLast((each) => each.index <= index)?.configuration ?? snapshot.configuration
  raft.snapshot = { index, term, configuration, data }
  raft.configurations = configurations.filter((each) => each.index > index)
  raft.writing.snapshot = { snapshot: raft.snapshot, installs: false }
  logs.compact(log, Math.max(log.base.index, index - (raft.config.entriesKept ?? LOG_ENTRIES_KEPT)))
}

/** Leader. Nothing is sent to a follower that is not heard: it would only fill the way to it. */
export function startTransfer(raft: Raft, to: MemberId, progress: Progress): boolean {
  if (!progress.recentActive) return false
  becomeSnapshot(progress, raft.snapshot, crc32(raft.snapshot.data))
  sendParts(raft, to, progress.transfer as unknown as Transfer)
  return true
}

function sendParts(raft: Raft, to: MemberId, transfer: Transfer): void {
  const { snapshot, checksum } = transfer
  const total = snapshot.data.length
  const partBytes = raft.config.snapshotPartBytes ?? SNAPSHOT_PART_BYTES
  const window = transfer.acknowledged + SNAPSHOT_PARTS_IN_FLIGHT * partBytes
  while (!transfer.ended && transfer.sent < window) {
    const offset = transfer.sent
    const data = snapshot.data.slice(offset, offset + partBytes)
    transfer.sent += data.length
    transfer.ended = transfer.sent === total
    transfer.idleBeats = 0
    const { index, term: logTerm, configuration } = snapshot
    const what = { index, logTerm, configuration, total, checksum }
    send(raft, { kind: 'MsgSnap', to, ...what, offset, data, last: transfer.ended })
  }
}

/** The follower answers heartbeats: if it has been silent about the transfer for two of them, parts were lost. */
export function resumeTransfer(raft: Raft, to: MemberId, transfer: Transfer): void {
  if (transfer.idleBeats < 2) return
  rewind(transfer, transfer.acknowledged)
  sendParts(raft, to, transfer)
}

export function hearSnapshotStatus(raft: Raft, message: MessageOf<'MsgSnapStatus'>): void {
  const { from, index, offset } = message
  const progress = raft.progress.get(from)
  if (progress === undefined) return
  progress.recentActive = true
  const { transfer } = progress
  if (transfer === undefined || transfer.snapshot.index !== index) return
  if (offset === transfer.acknowledged || offset > transfer.snapshot.data.length) return
  // Less than before: the receiver has restarted, or the bytes were not right, or this answer was overtaken. It begins
  // again there, but not before the next heartbeat: whatever is wrong must not go round at the speed of the network.
  if (offset < transfer.acknowledged) {
    transfer.acknowledged = offset
    transfer.idleBeats = Infinity
    return
  }
  transfer.acknowledged = offset
  transfer.idleBeats = 0
  // It may have more than was sent in this transfer: parts of an earlier one, or of another leader's.
  transfer.sent = Math.max(transfer.sent, offset)
  sendParts(raft, from, transfer)
}

function rewind(transfer: Transfer, offset: number): void {
  transfer.sent = offset
  transfer.ended = false
}

/** Follower. */
export function hearSnapshot(raft: Raft, message: MessageOf<'MsgSnap'>): void {
  const { log } = raft
  const { from: to, index, logTerm, offset, data } = message
  if (index <= log.commit || logs.matches(log, index, logTerm)) {
    // Held already, so the log stays: it may reach further than the snapshot.
    raft.incoming = undefined
    commitTo(raft, index)
    return acknowledge(raft, to, log.commit)
  }
  const incoming = incomingOf(raft, message)
  if (offset === incoming.offset) {
    incoming.parts.push(data)
    incoming.offset += data.length
    if (message.last && isWhole(incoming)) return install(raft, message, incoming)
    if (message.last) raft.incoming = undefined
  }
  send(raft, { kind: 'MsgSnapStatus', to, index, offset: raft.incoming?.offset ?? 0 })
}

/** What is here of that snapshot; parts of another one are given up. */
function incomingOf(raft: Raft, { index, logTerm, total, checksum }: MessageOf<'MsgSnap'>): Incoming {
  const known = raft.incoming
  const isSame = known?.index === index && known.logTerm === logTerm && known.checksum === checksum
  if (known !== undefined && isSame && known.total === total) return known
  raft.incoming = { index, logTerm, total, checksum, parts: [], offset: 0 }
  return raft.incoming
}

const isWhole = ({ parts, offset, total, checksum }: Incoming): boolean =>
  offset === total && parts.reduce((sum, part) => crc32(part, sum), 0) === checksum

function install(raft: Raft, message: MessageOf<'MsgSnap'>, { parts, total }: Incoming): void {
  const { index, logTerm: term, configuration, from } = message
  const data = new Uint8Array(total)
  let offset = 0
  for (const part of parts) {
    data.set(part, offset)
    offset += part.length
  }
  raft.incoming = undefined
  replaceBySnapshot(raft, { index, term, configuration, data })
  acknowledge(raft, from, index)
}

/** The log begins anew behind a snapshot that another peer made. */
export function replaceBySnapshot(raft: Raft, snapshot: Snapshot): void {
  raft.snapshot = snapshot
  raft.configuration = snapshot.configuration
  raft.configurations = []
  installSnapshot(raft, snapshot)
}
