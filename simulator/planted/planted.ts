/**
 * Bugs that others had, planted into our source to see whether the simulator finds them: the classes J1 to J22 of the
 * check-list, each a find-and-replace that must apply exactly once. A nemesis that misses one is not finished.
 */
/** The command of each simulation that looks for bugs. Twenty VMs on fifteen hosts meet each other oftener than on fifty. */
export const SIMULATIONS = {
  raft: ['raft', '--no-shrink'],
  mesh: ['mesh', '--peers', '15'],
  'disk-full': ['disk-full'],
  follow: ['follow'],
  restore: ['restore'],
} as const

type Edit = { readonly file: string; readonly find: string; readonly replace: string }

export type Planted = {
  readonly id: string
  readonly name: string
  /** Who had it. */
  readonly seenIn: string
  /** What it does to ours. */
  readonly what: string
  /** Which simulation is to find it. */
  readonly by: keyof typeof SIMULATIONS
  readonly edits: readonly Edit[]
}

const inFile = (file: string, find: string, replace: string): Edit => ({ file, find, replace })
const RAFT = 'protocols/raft'

export const PLANTED: readonly Planted[] = [
  {
    id: 'J1',
    name: 'stale-read-minority-leader',
    seenIn: 'etcd 0.4.1, Consul (2014)',
    what: 'a leader answers reads without asking whether it still leads',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/reading.ts`,
        `if (role === 'leader') return take(raft, { kind: 'local', token })`,
        `if (role === 'leader' && hasCommittedInTerm(raft))
    return void reading.ready.push({ token, index: raft.log.commit })
  if (role === 'leader') return take(raft, { kind: 'local', token })`,
      ),
    ],
  },
  {
    id: 'J2',
    name: 'readindex-before-noop',
    seenIn: 'etcd #7331',
    what: 'a new leader takes read positions before it has committed an entry of its own term',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/reading.ts`,
        `if (!hasCommittedInTerm(raft)) return void reading.postponed.push(asker)`,
        ``,
      ),
    ],
  },
  {
    id: 'J3',
    name: 'readindex-duplicate-ctx',
    seenIn: 'etcd #20418',
    what: 'a late acknowledgement confirms reads that came after it',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/replication.ts`,
        `acknowledgePosition(raft, from, read)`,
        `acknowledgePosition(raft, from, Math.max(read, raft.reading.asked))`,
      ),
    ],
  },
  {
    id: 'J4',
    name: 'readindex-dropped-fails-fast',
    seenIn: 'etcd #9566, restate #2950',
    what: 'reads that wait are forgotten when the leader changes',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/reading.ts`,
        `for (const token of tokens) refuse(raft, token, 'not-leader')`,
        `void tokens`,
      ),
    ],
  },
  {
    id: 'J5',
    name: 'power-loss-unsynced-tail',
    seenIn: 'NATS 2.12.1, etcd #14370',
    what: 'votes and acknowledgements leave before they are on disk',
    by: 'raft',
    edits: [inFile(`${RAFT}/state.ts`, `raft.writing.waiting.push(`, `raft.out.messages.push(`)],
  },
  {
    id: 'J6',
    name: 'bitflip-minority',
    seenIn: 'NATS 2.12.1',
    what: 'a damaged record is taken for what was written',
    by: 'raft',
    edits: [inFile('storage/raft-log.ts', `if (!isWhole) throw`, `if (value.length < 4) throw`)],
  },
  {
    id: 'J6b',
    name: 'misdirected-write',
    seenIn: 'disks, as TigerBeetle simulates them',
    what: 'a record is believed wherever it lies: its checksum is not over its key',
    by: 'raft',
    edits: [inFile('storage/raft-log.ts', `crc32(body, crc32(at))`, `crc32(body)`)],
  },
  {
    id: 'J7',
    name: 'wiped-node-same-id',
    seenIn: 'openraft, RethinkDB 2.2.3',
    what: 'a peer that lost its log comes back as the voter it was',
    by: 'raft',
    edits: [
      inFile(`${RAFT}/member.ts`, '`${peer}#${incarnation}`', '`${peer}#${incarnation === "" ? "" : "1"}`'),
    ],
  },
  {
    id: 'J8',
    name: 'reconfig-during-partition',
    seenIn: 'RethinkDB 2.2.3',
    what: 'while a change is on, only the new voters are asked',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/quorum.ts`,
        `const results = [majorityVote(voters, votes), majorityVote(votersOutgoing, votes)]`,
        `const results = [majorityVote(voters, votes), majorityVote(votersOutgoing.slice(0, 0), votes)]`,
      ),
    ],
  },
  {
    id: 'J9',
    name: 'change-before-noop',
    seenIn: "Raft's single-server changes (Ongaro, 2015)",
    what: 'a new leader proposes a change before it knows what became of the last one',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/reconfiguration.ts`,
        `if (!hasCommittedInTerm(raft)) return refuse(raft, token, 'no-op')`,
        ``,
      ),
      inFile(`${RAFT}/replication.ts`, `raft.lastChangeIndex = last\n`, `raft.lastChangeIndex = 0\n`),
    ],
  },
  {
    id: 'J10',
    name: 'rollback-uncommitted-config',
    seenIn: 'dqlite (raft #250, #323, #324)',
    what: 'a follower counts by a change that it has only appended, and keeps it when the entry is replaced',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/follower.ts`,
        `import { appendToLog } from './writing.ts'`,
        `import { appendToLog } from './writing.ts'\nimport { switchConfiguration } from './reconfiguration.ts'`,
      ),
      inFile(
        `${RAFT}/follower.ts`,
        `if (conflict !== undefined) appendToLog(raft, placed.slice(conflict - index - 1))`,
        `if (conflict !== undefined) {
    appendToLog(raft, placed.slice(conflict - index - 1))
    for (const each of placed.slice(conflict - index - 1))
      if (each.kind === 'configuration') switchConfiguration(raft, each.index, each.data)
  }`,
      ),
    ],
  },
  {
    id: 'J11',
    name: 'append-truncate-aba',
    seenIn: 'dqlite (raft #450), etcd async storage writes',
    what: 'a write that completes counts for entries that replaced those it wrote',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/writing.ts`,
        `for (const write of writing.inFlight) write.upTo = Math.min(write.upTo, from - 1)`,
        ``,
      ),
    ],
  },
  {
    id: 'J12',
    name: 'crash-between-apply-and-index',
    seenIn: 'etcd #13766, #14685',
    what: 'a snapshot holds one entry more than it says',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/snapshot.ts`,
        `raft.snapshot = { index, term, configuration, data }
  raft.configurations`,
        `raft.snapshot = { index: index - 1, term: logs.termAt(log, index - 1) ?? term, configuration, data }
  raft.configurations`,
      ),
    ],
  },
  {
    id: 'J13',
    name: 'compaction-boundary',
    seenIn: 'etcd #17780, #18089, #19179',
    what: 'who needs just the newest entry that was compacted gets the log after it instead',
    by: 'follow',
    edits: [
      inFile(
        'protocols/follow/source.ts',
        `const compacted = older || ask.index < log.base.index`,
        `const compacted = older || ask.index < log.base.index - 1`,
      ),
      inFile(
        'protocols/follow/source.ts',
        `const start = index - base.index`,
        `const start = Math.max(0, index - base.index)`,
      ),
    ],
  },
  {
    id: 'J14',
    name: 'two-in-a-row',
    seenIn: 'etcd #18055',
    what: 'when the first of two snapshots is on disk, it is the newest that is carried out',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/writing.ts`,
        `function isDone({ writing, log, out }: Raft,`,
        `function isDone({ writing, log, out, snapshot }: Raft,`,
      ),
      inFile(
        `${RAFT}/writing.ts`,
        `out.restore = installs
  log.applying = log.applied = installs.index`,
        `out.restore = snapshot
  log.applying = log.applied = snapshot.index`,
      ),
    ],
  },
  {
    id: 'J15',
    name: 'watch-back-in-time',
    seenIn: 'etcd #15271, #17529',
    what: 'who asks a peer that has less is given the older state',
    by: 'follow',
    edits: [
      inFile(
        'protocols/follow/source.ts',
        `if (ask.generation > generation || (!older && ask.index > log.applied)) return nothing(view, 'behind')`,
        ``,
      ),
      inFile(
        'protocols/follow/source.ts',
        `const compacted = older || ask.index < log.base.index`,
        `const compacted = older || ask.index < log.base.index || ask.index > log.applied`,
      ),
      inFile(
        'protocols/follow/follower.ts',
        `if (compare({ generation, index: snapshot.index }, f.position) <= 0) return`,
        `if (snapshot.index < 0) return`,
      ),
    ],
  },
  {
    id: 'J15b',
    name: 'watch-twice',
    seenIn: 'etcd #17247, #20221',
    what: 'what was given and is not held yet is asked for again',
    by: 'follow',
    edits: [
      inFile(
        'protocols/follow/follower.ts',
        `if (!f.wanted || f.asked !== undefined || f.delivering !== undefined) return
  const to`,
        `if (!f.wanted || f.asked !== undefined) return
  const to`,
      ),
    ],
  },
  {
    id: 'J16',
    name: 'pause-holder-then-resume',
    seenIn: 'etcd 3.4.3 locks',
    what: 'the next life of a peer starts a VM that it had promised to another host',
    by: 'mesh',
    edits: [
      inFile(
        'node/reconcile/grants.ts',
        `local(promise.vm).promise = promise`,
        `if (promise.m === undefined) local(promise.vm).promise = promise`,
      ),
    ],
  },
  {
    id: 'J17',
    name: 'total-loss-on-failover',
    seenIn: 'Redis-Raft',
    what: 'anybody may lead, whatever its log lacks',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/election.ts`,
        `&& logs.isUpToDate(raft.log, index, logTerm)`,
        `&& index + logTerm >= 0`,
      ),
    ],
  },
  {
    id: 'J18',
    name: 'enospc-then-space',
    seenIn: 'dqlite #401',
    what: 'a write for which the disk had no space is not tried again when it has',
    by: 'disk-full',
    edits: [
      inFile(
        'node/log-writer.ts',
        `return this.#hooks.later(WRITE_AGAIN_MS, () => this.#ended || this.#try(token, ops))`,
        `return`,
      ),
    ],
  },
  {
    id: 'J19',
    name: 'concurrent-with-append',
    seenIn: 'dqlite #401',
    what: 'entries are applied, and kept in snapshots, before they are on this disk',
    by: 'raft',
    edits: [
      inFile(`${RAFT}/raft.ts`, `Math.min(log.commit, log.stable, upTo)`, `Math.min(log.commit, upTo)`),
    ],
  },
  {
    id: 'J20',
    name: 'partition-thrash',
    seenIn: 'Cloudflare (2020)',
    what: 'whoever hears no leader raises its term at once',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/election.ts`,
        `if (raft.config.preVote === false) askForVotes(raft, false)`,
        `if (raft.config.preVote !== false) askForVotes(raft, false)`,
      ),
    ],
  },
  {
    id: 'J21',
    name: 'clock-step-lease',
    seenIn: "etcd's ReadOnlyLeaseBased",
    what: 'reads are answered on the word of a clock',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/reading.ts`,
        `if (config.readOnly === 'lease-based') return`,
        `if (config.readOnly !== 'safe') return`,
      ),
    ],
  },
  {
    id: 'J22',
    name: 'retry-across-leader-change',
    seenIn: "Raft without sessions (Ongaro's thesis, 6.3)",
    what: 'a command that is asked for again is done again',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/envelope.ts`,
        `const kept = session.answers.get(serial)`,
        `const kept = session.answers.get(serial - SESSION_WINDOW)`,
      ),
    ],
  },
  {
    id: 'B1',
    name: 'old-folder-believed',
    seenIn: "any consensus store whose disk is put back from a backup (etcd's members, for one)",
    what: 'the mark outside a data folder is not looked at',
    by: 'restore',
    edits: [
      inFile(
        'node/binding/judge.ts',
        `if (typeof verdict === 'string') return { kind: verdict }`,
        `if (typeof verdict === 'string' || outside.kind === 'mark') return { kind: 'bound' }`,
      ),
    ],
  },
  {
    id: 'B2',
    name: 'forgotten-promise',
    seenIn: 'ours, while decision 11 was made',
    what: 'a peer that was replaced starts a VM that it had offered to another host',
    by: 'restore',
    edits: [inFile('node/compose.ts', `return isSame && agreed.move === undefined`, `return isSame`)],
  },
  {
    id: 'U1',
    name: 'gate-by-majority',
    seenIn: 'nobody: our own gate',
    what: 'a feature is on as soon as most members know it',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/raising.ts`,
        `Math.min(...progress.map((each) => (each.recentActive ? each.level : 0)))`,
        `progress.map((each) => each.level).toSorted((a, b) => b - a)[Math.floor(progress.length / 2)] ?? 0`,
      ),
    ],
  },
  {
    id: 'U2',
    name: 'unreadable-entry-passed-over',
    seenIn: 'Godwit before feature levels',
    what: 'who meets a level that it does not know goes on behind it',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/envelope.ts`,
        `if (asked.kind === 'feature' && asked.level > known) return`,
        `if (asked.kind === 'feature' && known < 0) return`,
      ),
    ],
  },
  {
    id: 'U3',
    name: 'read-before-the-gate',
    seenIn: 'nobody: our own gate',
    what: 'a newer version reads what an older one drops before the group has agreed to it',
    by: 'raft',
    edits: [
      inFile(
        `${RAFT}/envelope.ts`,
        `readable(machine.command, asked.command, envelope.level)`,
        `readable(machine.command, asked.command)`,
      ),
    ],
  },
]

/** The source with the bug in it; undefined when the bug is not in that file. @throws Error when an edit does not apply exactly once. */
export function plant(bug: Planted, file: string, source: string): string | undefined {
  const edits = bug.edits.filter((edit) => edit.file === file)
  if (edits.length === 0) return undefined
  return edits.reduce((text, { find, replace }) => {
    const times = text.split(find).length - 1
    if (times !== 1) throw new Error(`${bug.id}: its edit of ${file} applies ${times} times`)
    return text.replace(find, () => replace)
  }, source)
}
