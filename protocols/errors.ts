/**
 * Every way an operation can fail on purpose, and what a person is told. Bugs are not in this list: they are
 * assertions. docs/ERRORS.md is printed from RULES; the CLI takes its exit status from it.
 */

/** Where a fault stands in a text that a person wrote. */
type Place = { file: string; line: number; column: number; key: string }

export type Failure =
  // Frames and peers
  | { code: 'FRAME_INVALID'; at: string; expected: string }
  | { code: 'FRAME_TOO_LARGE'; bytes: number; bytesMax: number }
  | { code: 'PEER_UNREACHABLE'; peer: string; afterMs: number }
  | { code: 'PEER_BUSY'; peer: string; what: string }
  | { code: 'TIMEOUT'; what: string; afterMs: number }
  // What a person typed or wrote
  | { code: 'USAGE'; why: string; next?: string }
  | ({ code: 'CONFIG_INVALID'; why: string } & Place)
  | ({ code: 'SPEC_INVALID'; why: string } & Place)
  | { code: 'NOT_FOUND'; what: string; name: string }
  | { code: 'AMBIGUOUS'; what: string; name: string; choices: string[] }
  | { code: 'NAME_TAKEN'; what: string; name: string }
  | { code: 'UNSUPPORTED'; what: string }
  // The data folder and this machine
  | { code: 'DATA_MISSING'; folder: string }
  | { code: 'DATA_EXISTS'; folder: string }
  | { code: 'DATA_FOREIGN'; folder: string; found: string; wanted: string }
  | { code: 'DATA_NEWER'; folder: string; version: number; supported: number }
  | { code: 'DATA_LOCKED'; folder: string }
  | { code: 'DATA_LEFT'; folder: string; mesh: string }
  | { code: 'DATA_MISMATCH'; why: string }
  | { code: 'DATA_CORRUPT'; what: string; why: string }
  | { code: 'KEY_FILE'; path: string; why: 'missing' | 'readable' | 'malformed' }
  | { code: 'STORE_KEY'; folder: string; wanted: string; given: string[] }
  | { code: 'ADDRESS_IN_USE'; address: string }
  | { code: 'TOOL_MISSING'; tool: string; package: string }
  /** `pending`: what was asked is in a log, and may be carried out once the disk can be written again. */
  | { code: 'DISK_FULL'; path: string; pending?: boolean }
  | { code: 'IO'; path: string; why: string; pending?: boolean }
  | { code: 'DAEMON_UNREACHABLE'; socket: string }
  | { code: 'STOPPING'; peer: string }
  | { code: 'CANCELLED'; what: string }
  | { code: 'INTERNAL'; why: string }
  // Admission
  | { code: 'TOKEN_REFUSED'; why: 'malformed' | 'unknown' | 'used' | 'expired' | 'revoked' | 'site' }
  | { code: 'NOT_ADMITTED'; peer: string }
  /** `by` is empty where the log does not say; `at` is ISO 8601; `site`: the one it was of. */
  | { code: 'REMOVED'; by: string; at: string; site: string }
  | { code: 'PEER_IN_USE'; peer: string; vms: string[] }
  | { code: 'VOTES_HELD'; peer: string; groups: string[]; why: string }
  | { code: 'RATE_LIMITED'; what: string; retryAfterMs: number }
  // Agreement
  | { code: 'NO_LEADER'; group: string; afterMs: number }
  | { code: 'NOT_LEADER'; group: string; leader: string }
  | { code: 'NOT_VOTER'; group: string; peer: string; choices: string[] }
  | { code: 'PROPOSAL_DROPPED'; group: string; why: string }
  | { code: 'OUTCOME_UNKNOWN'; group: string; why: string }
  | { code: 'SESSION_EXPIRED'; group: string; session: number }
  /** `pending`: it is in a log, and is carried out if that log wins. */
  | { code: 'NO_QUORUM'; group: string; voters: number; missing: string[]; afterMs: number; pending: boolean }
  | { code: 'UNCERTAIN'; vm: string; group: string; host: string }
  | { code: 'COMMAND_UNREADABLE' }
  | { code: 'FEATURE_OFF'; feature: string; group: string; lacking: string[] }
  | { code: 'FEATURE_UNKNOWN'; level: number; known: number }
  | { code: 'STALE'; what: string; expected: string; found: string }
  // VMs
  | { code: 'NO_HOST'; vm: string; reasons: { host: string; why: string }[] }
  | { code: 'BUSY'; vm: string; by: string }
  | { code: 'NOT_GRANTED'; vm: string; why: string }
  | { code: 'ILLEGAL_STATE'; vm: string; state: string; wanted: string }
  | { code: 'HYPERVISOR'; vm: string; why: string }
  | { code: 'MOVE_REFUSED'; vm: string; why: string }
  | { code: 'MOVE_CANCELLED'; vm: string; why: string }
  | { code: 'MOVE_TAKEN'; vm: string; by: string }
  // Images
  | { code: 'IMAGE_INVALID'; path: string; why: string }
  | { code: 'CHUNK_MISSING'; image: string; chunks: number }
  | { code: 'CHUNK_CORRUPT'; chunk: string; from: string }
  /** `quotaBytes`: null where it is the disk that is short. */
  | {
      code: 'QUOTA'
      what: string
      neededBytes: number
      freeBytes: number
      usedBytes: number
      quotaBytes: number | null
    }
  | { code: 'NOT_HELD'; image: string; peer: string }
  | { code: 'NO_SOURCE'; image: string; missing: number }
  /** `wanted` is empty when no file was named; `more` are not listed. */
  | { code: 'FILE_UNCHOSEN'; source: string; wanted: string; choices: string[]; more: number }
  | { code: 'SOURCE_SILENT'; source: string; what: 'metadata' | 'data'; afterMs: number; peers: number }
  | { code: 'SOURCE_REFUSED'; source: string; why: string }

export type Code = Failure['code']

type Rule<C extends Code> = {
  /** Whether the same request may succeed later without anyone changing anything. */
  readonly retry: boolean
  /** Exit status of the CLI: 1 failed, 2 usage, 3 denied, 4 no quorum or precondition, 5 timeout, 6 daemon, 8 not found. */
  readonly exit: 1 | 2 | 3 | 4 | 5 | 6 | 8
  /** What failed and why, one line, at most a few hundred characters. */
  say(failure: Extract<Failure, { code: C }>): string
  /** The next command to try, when there is one. */
  next?(failure: Extract<Failure, { code: C }>): string | undefined
}

const later = (pending: boolean | undefined): string =>
  pending === true ? '; what was asked may still be carried out once it can be written' : ''
/** A duration in words: operators reckon in no milliseconds. What is no number stands for one, in docs/ERRORS.md. */
function span(ms: number): string {
  if (!Number.isFinite(ms)) return String(ms)
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`
}
/** A magnet link is long, and its first part says which it is. */
const brief = (source: string): string => (source.length > 100 ? `${source.slice(0, 97)}...` : source)
/** As people say it. What is no number stands for one, in docs/ERRORS.md. */
function size(bytes: number): string {
  if (!Number.isFinite(bytes)) return String(bytes)
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)))
  return `${Math.round((bytes / 1024 ** unit) * 10) / 10} ${units[unit]}`
}
const at = (place: Place): string => `${place.file}:${place.line}:${place.column}: ${place.key}`

const KEY_FILE_WHY: Readonly<Record<string, string>> = {
  missing: 'is not there',
  readable: 'may be read by others than its owner',
  malformed: 'holds neither 32 bytes nor 64 hex digits',
}

export const RULES: { readonly [C in Code]: Rule<C> } = {
  FRAME_INVALID: { retry: false, exit: 1, say: (f) => `bad frame: ${f.at} is not ${f.expected}` },
  FRAME_TOO_LARGE: { retry: false, exit: 1, say: (f) => `frame of ${f.bytes} B, over ${f.bytesMax} B` },
  PEER_UNREACHABLE: {
    retry: true,
    exit: 5,
    say: (f) => `no answer from ${f.peer} in ${span(f.afterMs)}`,
    next: () => 'godwit peer list',
  },
  PEER_BUSY: { retry: true, exit: 1, say: (f) => `${f.peer} has too much in hand: ${f.what}` },
  TIMEOUT: { retry: true, exit: 5, say: (f) => `${f.what} did not end in ${span(f.afterMs)}` },
  USAGE: { retry: false, exit: 2, say: (f) => f.why, next: (f) => f.next },
  CONFIG_INVALID: { retry: false, exit: 2, say: (f) => `${at(f)}: ${f.why}` },
  SPEC_INVALID: { retry: false, exit: 2, say: (f) => `${at(f)}: ${f.why}` },
  NOT_FOUND: {
    retry: false,
    exit: 8,
    say: (f) => `no ${f.what} named ${f.name}`,
    next: (f) => `godwit ${f.what === 'group' ? 'raft' : f.what} list`,
  },
  AMBIGUOUS: {
    retry: false,
    exit: 2,
    say: (f) => `${f.name} names more than one ${f.what}: ${f.choices.join(', ')}`,
  },
  NAME_TAKEN: { retry: false, exit: 4, say: (f) => `there is a ${f.what} named ${f.name} already` },
  UNSUPPORTED: { retry: false, exit: 2, say: (f) => `${f.what} is not provided yet` },
  DATA_MISSING: {
    retry: false,
    exit: 2,
    say: (f) => `${f.folder} belongs to no mesh yet`,
    next: () => 'godwit init --site NAME, or godwit join',
  },
  DATA_EXISTS: {
    retry: false,
    exit: 2,
    say: (f) => `${f.folder} belongs to a mesh already`,
    next: () => 'godwit up',
  },
  DATA_FOREIGN: {
    retry: false,
    exit: 2,
    say: (f) => `${f.folder} belongs to ${f.found}, not to ${f.wanted}`,
  },
  DATA_NEWER: {
    retry: false,
    exit: 2,
    say: (f) => `${f.folder} was written in format ${f.version}; this godwit reads up to ${f.supported}`,
    next: () => 'install a newer godwit',
  },
  DATA_LOCKED: {
    retry: true,
    exit: 2,
    say: (f) => `another godwit runs on ${f.folder}`,
    next: () => 'godwit status; for work on its folder, stop that peer first (systemctl stop godwit)',
  },
  DATA_LEFT: {
    retry: false,
    exit: 2,
    say: (f) => `the peer of ${f.folder} has left mesh ${f.mesh}; its grants and disks are kept`,
    next: () => 'godwit join, with a fresh token',
  },
  DATA_MISMATCH: {
    retry: false,
    exit: 4,
    say: (f) =>
      `this data folder is not as its peer last had it: ${f.why}. Its peer votes nowhere and starts nothing`,
    next: () => 'godwit peer replace --dry-run, with the peer stopped',
  },
  DATA_CORRUPT: { retry: false, exit: 1, say: (f) => `${f.what} is damaged: ${f.why}` },
  KEY_FILE: {
    retry: false,
    exit: 2,
    say: (f) => `key file ${f.path} ${KEY_FILE_WHY[f.why] ?? f.why}`,
    next: (f) =>
      f.why === 'readable'
        ? `chmod 600 ${f.path}`
        : `(umask 077; head -c 32 /dev/urandom > ${f.path}) makes one`,
  },
  STORE_KEY: {
    retry: false,
    exit: 2,
    say: (f) =>
      `${f.folder} holds chunks that are encrypted under key ${f.wanted}; the key files given have ${f.given.join(', ') || 'none'}`,
    next: () =>
      'name its key file in store.keyFiles; if it is lost for good, move that folder away: chunks are fetched again from other peers',
  },
  ADDRESS_IN_USE: { retry: false, exit: 2, say: (f) => `something else listens on ${f.address}` },
  TOOL_MISSING: {
    retry: false,
    exit: 2,
    say: (f) => `${f.tool} is not installed`,
    next: (f) => `apt-get install ${f.package}`,
  },
  DISK_FULL: { retry: true, exit: 1, say: (f) => `no room left on the disk of ${f.path}${later(f.pending)}` },
  IO: { retry: true, exit: 1, say: (f) => `${f.path}: ${f.why}${later(f.pending)}` },
  DAEMON_UNREACHABLE: {
    retry: true,
    exit: 6,
    say: (f) => `no peer answers on ${f.socket}`,
    next: () => 'godwit up',
  },
  STOPPING: { retry: true, exit: 1, say: (f) => `${f.peer} is stopping` },
  CANCELLED: { retry: true, exit: 1, say: (f) => `${f.what} was cancelled` },
  INTERNAL: { retry: false, exit: 1, say: (f) => `a bug in godwit: ${f.why}` },
  TOKEN_REFUSED: {
    retry: false,
    exit: 3,
    say: (f) => `the join token was refused: ${f.why}`,
    next: () => 'godwit token create, on a peer of the mesh',
  },
  NOT_ADMITTED: { retry: false, exit: 3, say: (f) => `${f.peer} is not a peer of this mesh` },
  REMOVED: {
    retry: false,
    exit: 3,
    say: (f) =>
      `this peer was removed from the mesh${f.by === '' ? '' : ` by ${f.by}`} at ${f.at}; VMs that it holds keep running under their grants`,
    next: (f) =>
      `systemctl stop godwit, then godwit join --site ${f.site} with a fresh token: it keeps what it has`,
  },
  PEER_IN_USE: {
    retry: false,
    exit: 4,
    say: (f) => `${f.peer} still has VMs: ${f.vms.slice(0, 8).join(', ')}`,
    next: (f) => `godwit vm move VM --to PEER, or godwit peer remove ${f.peer} --force: they stay on it`,
  },
  VOTES_HELD: {
    retry: true,
    exit: 4,
    say: (f) => `${f.peer} still votes in ${f.groups.join(', ')}: ${f.why}`,
    next: (f) => `godwit raft health; if it never comes back: godwit peer remove ${f.peer} --force`,
  },
  RATE_LIMITED: {
    retry: true,
    exit: 3,
    say: (f) => `too many ${f.what}; again in ${span(f.retryAfterMs)}`,
    next: (f) => (f.what === 'join tokens' ? 'godwit token revoke, for those that nobody needs' : undefined),
  },
  NO_LEADER: {
    retry: true,
    exit: 4,
    say: (f) => `group ${f.group} has no leader in sight for ${span(f.afterMs)}`,
    next: () => 'godwit raft list',
  },
  NO_QUORUM: {
    retry: true,
    exit: 4,
    say: (f) =>
      `group ${f.group} has no quorum; of its ${f.voters} voters out of sight: ${f.missing.join(', ')}` +
      (f.pending ? '; what was asked may still be carried out' : ''),
    next: (f) =>
      `bring one of them back (godwit raft health --group ${f.group}); if they are gone for good: godwit raft recover --group ${f.group} --dry-run`,
  },
  UNCERTAIN: {
    retry: true,
    exit: 4,
    say: (f) =>
      `${f.vm} may have been taken by ${f.host || 'a host'} before group ${f.group} was recovered, and that host has not said`,
    next: () => 'godwit peer list; godwit job cancel JOB --force when that host is gone for good',
  },
  NOT_LEADER: { retry: true, exit: 4, say: (f) => `group ${f.group} is led by ${f.leader}` },
  NOT_VOTER: {
    retry: false,
    exit: 4,
    say: (f) => `${f.peer} has no vote in group ${f.group}: its voters are ${f.choices.join(', ')}`,
    next: (f) => `godwit raft transfer --group ${f.group} --to ${f.choices[0] ?? 'VOTER'}`,
  },
  PROPOSAL_DROPPED: {
    retry: true,
    exit: 4,
    say: (f) => `group ${f.group} did not take the change: ${f.why}`,
  },
  // To ask again could do it twice: whoever asks looks first.
  OUTCOME_UNKNOWN: {
    retry: false,
    exit: 4,
    say: (f) => `group ${f.group} may or may not have carried the change out: ${f.why}`,
    next: () => 'godwit raft list',
  },
  SESSION_EXPIRED: {
    retry: true,
    exit: 4,
    say: (f) => `session ${f.session} of group ${f.group} has ended; the change was not carried out`,
  },
  // Part of agreed states: every version says the same, to the byte, whatever it is that it cannot read.
  COMMAND_UNREADABLE: {
    retry: false,
    exit: 1,
    say: () => 'the group does not read the command: it is none, or belongs to a feature that is not on',
  },
  FEATURE_OFF: {
    retry: true,
    exit: 4,
    say: (f) =>
      `group ${f.group} does not have ${f.feature} yet; members that do not know it, or are out of sight: ` +
      (f.lacking.join(', ') || 'none that this peer knows of'),
    next: () => 'godwit raft health',
  },
  FEATURE_UNKNOWN: {
    retry: false,
    exit: 2,
    say: (f) => `the group is at feature level ${f.level}; this godwit knows levels up to ${f.known}`,
    next: () => 'install a newer godwit',
  },
  STALE: { retry: true, exit: 4, say: (f) => `${f.what} changed meanwhile: ${f.found}, not ${f.expected}` },
  NO_HOST: {
    retry: true,
    exit: 4,
    say: (f) => `no host takes ${f.vm}: ${f.reasons.map(({ host, why }) => `${host}: ${why}`).join('; ')}`,
    next: () => 'godwit peer list',
  },
  BUSY: {
    retry: true,
    exit: 4,
    say: (f) => `${f.vm} is in the hands of ${f.by}`,
    next: () => 'godwit job list; a move ends by godwit job cancel JOB',
  },
  NOT_GRANTED: { retry: false, exit: 4, say: (f) => `${f.vm} may not run here: ${f.why}` },
  ILLEGAL_STATE: { retry: false, exit: 4, say: (f) => `${f.vm} is ${f.state}; it cannot be ${f.wanted}` },
  HYPERVISOR: {
    retry: true,
    exit: 1,
    say: (f) => `${f.vm}: ${f.why}`,
    next: (f) => `godwit vm logs ${f.vm}`,
  },
  MOVE_REFUSED: { retry: false, exit: 4, say: (f) => `${f.vm} cannot move: ${f.why}` },
  MOVE_CANCELLED: { retry: true, exit: 1, say: (f) => `the move of ${f.vm} was cancelled: ${f.why}` },
  MOVE_TAKEN: { retry: false, exit: 4, say: (f) => `the move of ${f.vm} was taken by ${f.by}` },
  IMAGE_INVALID: { retry: false, exit: 2, say: (f) => `${f.path} is no image that can be taken: ${f.why}` },
  CHUNK_MISSING: { retry: true, exit: 4, say: (f) => `image ${f.image} lacks ${f.chunks} chunks here` },
  CHUNK_CORRUPT: {
    retry: true,
    exit: 1,
    say: (f) => `chunk ${f.chunk} from ${f.from} is not what its name says`,
  },
  QUOTA: {
    retry: true,
    exit: 4,
    say: (f) =>
      `${f.what} takes about ${size(f.neededBytes)} of this peer's room for images, and ${size(f.freeBytes)} are free: ` +
      (f.quotaBytes === null
        ? `the disk is short; images and kept copies take ${size(f.usedBytes)} of it`
        : `images and kept copies take ${size(f.usedBytes)} of a quota of ${size(f.quotaBytes)}`),
    next: () => 'godwit image prune --dry-run; godwit image unpin IMAGE; or raise store.quota',
  },
  NOT_HELD: {
    retry: false,
    exit: 4,
    say: (f) => `${f.peer} holds nothing of image ${f.image}`,
    next: () => 'godwit image list',
  },
  NO_SOURCE: {
    retry: true,
    exit: 4,
    say: (f) => `nobody in sight holds ${f.missing} chunks of image ${f.image}`,
  },
  FILE_UNCHOSEN: {
    retry: false,
    exit: 2,
    say: (f) =>
      `${brief(f.source)} ${f.wanted === '' ? 'has more than one file' : `has no file ${f.wanted}`}; name one with --file: ` +
      `${f.choices.join(', ')}${f.more > 0 ? `, and ${f.more} more` : ''}`,
  },
  SOURCE_SILENT: {
    retry: true,
    exit: 5,
    say: (f) => `no ${f.what} of ${brief(f.source)} in ${span(f.afterMs)}, with ${f.peers} peers connected`,
    next: () => 'add --peer ADDRESS:PORT, or --dht; what is here already is not fetched again',
  },
  SOURCE_REFUSED: { retry: true, exit: 1, say: (f) => `${brief(f.source)}: ${f.why}` },
}

const ruleOf = (failure: Failure): Rule<Code> => RULES[failure.code] as unknown as Rule<Code>

/** One line for people: what failed and why. */
export const describeFailure = (failure: Failure): string => ruleOf(failure).say(failure)
/** The next command to try, or undefined. */
export const nextStep = (failure: Failure): string | undefined => ruleOf(failure).next?.(failure)
export const exitOf = (failure: Failure): number => ruleOf(failure).exit

/** The one error class. Branch on `failure.code`; the message is for people, and may change. */
export class GodwitError extends Error {
  override readonly name = 'GodwitError'
  readonly failure: Failure

  constructor(failure: Failure, options?: { cause?: unknown }) {
    super(describeFailure(failure), options)
    this.failure = failure
  }
}

/** What a caught value means to a caller: our failure, or a bug with its text (bounded). */
export function failureOf(error: unknown): Failure {
  if (error instanceof GodwitError) return error.failure
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  const path = (error as NodeJS.ErrnoException | undefined)?.path ?? 'a file'
  if (code === 'ENOSPC' || code === 'EDQUOT') return { code: 'DISK_FULL', path }
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code))
    return { code: 'IO', path, why: String((error as Error).message).slice(0, 300) }
  return { code: 'INTERNAL', why: String(error instanceof Error ? error.message : error).slice(0, 300) }
}
