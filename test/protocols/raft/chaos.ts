/**
 * A group in a hostile world: a seed chooses how often messages are lost, repeated or overtaken, disks are slow, members
 * crash with what they had not synced, links are cut. After every event the promises of raft.ts are checked, and which hard
 * moments were met is noted.
 */
import { isDeepStrictEqual } from 'node:util'
import { membersOf } from '../../../protocols/raft/configuration.ts'
import * as logs from '../../../protocols/raft/log.ts'
import { describe, type Message } from '../../../protocols/raft/messages.ts'
import { emptyLog } from '../../../protocols/raft/genesis.ts'
import { isQuorum } from '../../../protocols/raft/quorum.ts'
import type { Configuration, Entry } from '../../../protocols/raft/types.ts'
import { key } from '../../../storage/keyspace.ts'
import { change, Cluster, founded, GROUP, type Member } from './cluster.ts'

type Rates = Record<
  | 'tick'
  | 'hurry'
  | 'deliver'
  | 'overtake'
  | 'repeat'
  | 'lose'
  | 'sync'
  | 'crash'
  | 'start'
  | 'propose'
  | 'read'
  | 'compact'
  | 'cut'
  | 'add'
  | 'unreachable',
  number
>

type View = {
  term: number
  commit: number
  last: number
  role: string
  leader: string
  life: number
  base: number
}

export class Chaos {
  readonly cluster: Cluster
  readonly moments = new Set<string>()
  readonly trace: string[] = []
  readonly #rates: Rates
  readonly #leaders = new Map<number, string>()
  readonly #votes = new Map<string, string>()
  /** Of every entry that ever stood in a log: its content and the term before it. */
  readonly #entries = new Map<string, { entry: Entry; before: number }>()
  readonly #committed = new Map<number, Entry>()
  readonly #views = new Map<string, View>()
  readonly #configurations = new Map<number, Configuration>()
  readonly #reads = new Map<number, number>()
  #committedTo = 0
  #proposed = 0
  #token = 1
  #learner = 11

  constructor(seed: number, voters: number[], learners: number[]) {
    this.cluster = new Cluster(seed)
    const { dice } = this.cluster
    this.cluster.small = {
      entriesKept: dice.below(6),
      snapshotPartBytes: 64,
      writesInFlight: 1 + dice.below(3),
    }
    this.cluster.check = (member) => this.#check(member)
    this.cluster.onPost = (message) => this.#posted(message)
    const first = founded(voters, learners)
    for (const n of [...voters, ...learners]) this.cluster.add(n, first).autoSync = false
    const rate = (most: number): number => most * dice() * dice()
    this.#rates = {
      tick: 4,
      hurry: rate(3),
      deliver: 30,
      overtake: rate(8),
      repeat: rate(2),
      lose: rate(3),
      sync: 3 + rate(8),
      crash: rate(1),
      start: 2,
      propose: rate(4),
      read: rate(1),
      compact: rate(1),
      cut: rate(0.6),
      add: rate(0.05),
      unreachable: rate(0.3),
    }
  }

  run(events: number): void {
    const names = Object.keys(this.#rates) as (keyof Rates)[]
    const sum = names.reduce((total, name) => total + this.#rates[name], 0)
    for (let i = 0; i < events; i++) {
      let left = this.cluster.dice() * sum
      const name = names.find((each) => (left -= this.#rates[each]) < 0) ?? 'tick'
      this.#act(name)
    }
  }

  /** All is well again: within a few timeouts there is one leader, and what it takes is everywhere. */
  calm(): void {
    const { cluster } = this
    cluster.heal()
    for (const member of cluster.members.values()) {
      member.autoSync = true
      if (!member.up) this.#start(member)
      member.sync()
    }
    cluster.tick(200)
    const [leader, ...rest] = cluster.leaders()
    if (leader === undefined || rest.length > 0)
      throw this.#broken(`${rest.length + 1} leaders when all is well`)
    leader.propose('the last')
    cluster.tick(30)
    for (const id of membersOf(leader.raft.configuration)) {
      const member = cluster.members.get(id) as Member
      if (member.texts().at(-1) !== 'the last') throw this.#broken(`${member.id} did not catch up`)
      if (!isDeepStrictEqual(member.texts(), leader.texts())) throw this.#broken(`${member.id} differs`)
      if (member.raft.leader !== leader.id) throw this.#broken(`${id} follows nobody`)
    }
  }

  #act(name: keyof Rates): void {
    const { dice, network } = this.cluster
    const members = [...this.cluster.members.values()]
    const member = dice.pick(members)
    const at = dice.below(network.length)
    switch (name) {
      case 'deliver':
      case 'overtake': {
        const sent = network.splice(name === 'deliver' ? 0 : at, 1)[0]
        if (sent === undefined) return
        this.trace.push(`deliver ${describe(sent)}`)
        return this.cluster.deliver(sent)
      }
      case 'repeat':
        return void network.push(...network.slice(at, at + 1))
      case 'lose':
        return void network.splice(at, 1)
      case 'sync':
        for (let i = 0; i < 3; i++) dice.pick(members).sync(1)
        return
      case 'start':
        if (!member.up) this.#start(member)
        return
      case 'cut':
        return this.#cut(members)
    }
    if (!member.up) return
    this.trace.push(`${name} ${member.id}`)
    if (name === 'tick') member.tick()
    else if (name === 'hurry') member.tick(12)
    else if (name === 'crash') this.#crash(member)
    else if (name === 'propose') this.#propose(member)
    else if (name === 'read') this.#read(member)
    else if (name === 'unreachable') member.feed({ kind: 'unreachable', peer: dice.pick(members).id })
    else if (name === 'compact') member.compact()
    else if (name === 'add') this.#add(member)
  }

  /** Mostly to somebody who believes that it leads. */
  #propose(member: Member): void {
    const leaders = this.cluster.leaders()
    const to = leaders.length > 0 && this.cluster.dice.chance(0.9) ? this.cluster.dice.pick(leaders) : member
    to.propose(`p${this.#proposed++}`, this.#token++)
  }

  #add(member: Member): void {
    if (member.raft.role !== 'leader' || this.cluster.members.size > 8) return
    const effects = member.feed({
      kind: 'propose-change',
      token: this.#token++,
      change: change('add-learner-node', this.#learner),
    })
    if (!effects.some(({ kind }) => kind === 'proposed')) return
    // It knows nothing, not even that it is in the group.
    this.cluster.add(this.#learner++, emptyLog()).autoSync = false
    this.moments.add('a learner was added')
  }

  #cut(members: Member[]): void {
    const { dice } = this.cluster
    if (dice.chance(0.7)) return this.cluster.heal()
    const alone = new Set(members.filter(() => dice.chance(0.4)).map(({ id }) => id))
    const oneWay = dice.chance(0.3)
    this.cluster.passes = ({ from, to }) => alone.has(from) === alone.has(to) || (oneWay && alone.has(from))
  }

  #crash(member: Member): void {
    const { raft, disk } = member
    if (disk.length > 0) this.moments.add('crash with a write in flight')
    if (raft.role === 'leader' && raft.log.stable < logs.lastIndex(raft.log)) {
      this.moments.add('leader crash with unsynced entries')
    }
    if (raft.writing.durable.vote !== raft.vote && raft.role === 'follower') {
      this.moments.add('crash with a vote not yet synced')
    }
    member.crash(this.cluster.dice.below(disk.length + 1))
  }

  #start(member: Member): void {
    member.start()
    const view = this.#views.get(member.id)
    if (view !== undefined) view.commit = 0
  }

  #read(member: Member): void {
    this.#reads.set(this.#token, this.#committedTo)
    member.feed({ kind: 'read', token: this.#token++ })
  }

  #posted(sent: Message): void {
    this.#checkPromise(sent)
    if (sent.kind === 'MsgVoteResp' && !sent.reject) {
      const ballot = `${sent.from} in ${sent.term}`
      const before = this.#votes.get(ballot) ?? sent.to
      if (before !== sent.to) throw this.#broken(`${ballot} voted for ${before} and for ${sent.to}`)
      this.#votes.set(ballot, sent.to)
    }
    if (sent.kind === 'MsgAppResp' && sent.reject && sent.rejectHint < sent.index - 1)
      this.moments.add('fast rejection')
    if (sent.kind === 'MsgSnapStatus' && sent.offset > 0) this.moments.add('a snapshot part was acknowledged')
    if (this.cluster.network.length > 400) this.cluster.network.splice(0, 100)
  }

  /** What a message says of its sender's disk is true when it leaves. */
  #checkPromise(sent: Message): void {
    const { from, term } = sent
    if (sent.kind === 'MsgAppResp' && !sent.reject && sent.index > 0 && !this.#isOnDisk(from, sent.index)) {
      throw this.#broken(`${from} acknowledged ${sent.index}, which is not on its disk`)
    }
    const vote = sent.kind === 'MsgVote' ? from : sent.kind === 'MsgVoteResp' && !sent.reject ? sent.to : ''
    if (vote === '') return
    const { hardState } = this.cluster.members.get(from)?.recovered() ?? {}
    const isOnDisk = hardState !== undefined && (hardState.term > term || hardState.vote === vote)
    if (!isOnDisk) throw this.#broken(`${from} votes for ${vote} in ${term}, which is not on its disk`)
  }

  #check(member: Member): void {
    const { raft } = member
    const { log } = raft
    const now: View = {
      term: raft.term,
      commit: log.commit,
      last: logs.lastIndex(log),
      role: raft.role,
      leader: raft.leader,
      life: member.lives,
      base: log.base.index,
    }
    const before = this.#views.get(member.id)
    this.#views.set(member.id, now)
    if (now.role === 'leader') this.#checkLeader(member, before)
    this.#checkLog(member)
    this.#checkCommit(member, before)
    this.#checkApplied(member)
    this.#note(member, before, now)
    for (const answer of member.takeAnswers()) {
      if (answer.kind === 'read-ready' && member.machineIndex < (this.#reads.get(answer.token) ?? 0)) {
        throw this.#broken(`${member.id} answered read ${answer.token} at ${member.machineIndex}: stale`)
      }
      if (answer.kind === 'read-ready') this.moments.add('a read was answered')
      if (answer.kind === 'refused' && this.#reads.has(answer.token)) this.moments.add('a read was refused')
      if (answer.kind === 'restore') this.moments.add('a snapshot was installed')
    }
  }

  /** Election safety, and leader completeness at the moment of election. */
  #checkLeader({ id, raft }: Member, before: View | undefined): void {
    const known = this.#leaders.get(raft.term)
    if (known !== undefined && known !== id)
      throw this.#broken(`${known} and ${id} lead in term ${raft.term}`)
    this.#leaders.set(raft.term, id)
    if (before?.role === 'leader' && before.term === raft.term) return
    for (const [index, entry] of this.#committed) {
      if (index <= raft.log.base.index) continue
      if (logs.termAt(raft.log, index) !== entry.term) throw this.#broken(`leader ${id} lacks entry ${index}`)
    }
  }

  /** Log matching: one content and one predecessor for each (index, term), ever. */
  #checkLog({ id, raft }: Member): void {
    let before = raft.log.base.term
    for (const entry of raft.log.entries) {
      const name = `${entry.index}/${entry.term}`
      const known = this.#entries.get(name)
      if (known === undefined) this.#entries.set(name, { entry, before })
      else if (known.entry !== entry && (known.before !== before || !isSame(known.entry, entry))) {
        throw this.#broken(`entry ${name} of ${id} is not what it is elsewhere`)
      }
      before = entry.term
    }
  }

  /** State machine safety, and that what is committed is on the disks of a quorum. */
  #checkCommit(member: Member, before: View | undefined): void {
    const { log, configuration } = member.raft
    if (before?.life === member.lives && before.commit > log.commit)
      throw this.#broken(`commit of ${member.id} went back`)
    for (let index = Math.max(before?.commit ?? 0, log.base.index) + 1; index <= log.commit; index++) {
      const entry = logs.slice(log, index, index)[0] as Entry
      const known = this.#committed.get(index)
      if (known !== undefined && !isSame(known, entry))
        throw this.#broken(`${member.id} committed another entry ${index}`)
      if (known !== undefined) continue
      this.#committed.set(index, entry)
      this.#committedTo = Math.max(this.#committedTo, index)
      const has = (id: string): boolean => this.#isOnDisk(id, index)
      if (!isQuorum(configuration, has))
        throw this.#broken(`entry ${index} is committed and on no quorum of disks`)
    }
  }

  /** One configuration at each index, and nothing applied that a crash would take back. */
  #checkApplied({ id, raft }: Member): void {
    const { log, configuration } = raft
    if (log.applying < log.base.index) return
    const known = this.#configurations.get(log.applying) ?? configuration
    this.#configurations.set(log.applying, known)
    if (!isDeepStrictEqual(known, configuration)) {
      throw this.#broken(`${id} has another configuration at ${log.applying}`)
    }
    if (log.applying > 0 && !this.#isOnDisk(id, log.applying)) {
      throw this.#broken(`${id} applied ${log.applying}, which is not on its disk`)
    }
  }

  #isOnDisk(id: string, index: number): boolean {
    const member = this.cluster.members.get(id)
    if (member === undefined) return false
    return (
      member.stored.has(key('raftEntry', GROUP, index)) || (member.recovered()?.snapshot.index ?? 0) >= index
    )
  }

  #note({ raft, disk }: Member, before: View | undefined, now: View): void {
    if (before === undefined || before.life !== now.life) return
    const { moments } = this
    if (now.last < before.last && now.base === before.base) {
      moments.add('entries were replaced')
      if (disk.length > 0) moments.add('entries were replaced while a write was in flight')
    }
    if (before.role === 'leader' && now.role === 'follower') {
      moments.add(
        now.term === before.term ? 'a leader without a quorum stepped down' : 'a leader was superseded',
      )
    }
    if (before.role === 'candidate' && now.role === 'pre-candidate')
      moments.add('an election ended without a winner')
    if (
      now.role === 'candidate' &&
      [...this.#views.values()].some((v) => v.role === 'leader' && v.term < now.term)
    ) {
      moments.add('a candidate beside an old leader')
    }
    if (
      raft.role === 'leader' &&
      raft.log.commit < now.last &&
      logs.termAt(raft.log, raft.log.commit + 1) !== raft.term
    ) {
      moments.add('a leader holds uncommitted entries of an earlier term')
    }
  }

  #broken(what: string): Error {
    return new Error(`seed ${this.cluster.seed}: ${what}\n${this.trace.slice(-40).join('\n')}`)
  }
}

const isSame = (a: Entry, b: Entry): boolean =>
  a.term === b.term && a.kind === b.kind && Buffer.compare(a.data, b.data) === 0
