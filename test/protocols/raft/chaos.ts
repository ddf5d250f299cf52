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
import { dueInTicks } from '../../../protocols/raft/raft.ts'
import type { Configuration, ConfigurationChange, Entry } from '../../../protocols/raft/types.ts'
import { key } from '../../../storage/keyspace.ts'
import { Cluster, founded, GROUP, type Member, peer } from './cluster.ts'

const LEAVE: ConfigurationChange = { transition: 'auto', changes: [] }

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
  | 'change'
  | 'unreachable'
  | 'transfer'
  | 'forget',
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
  configuration: Configuration
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
    this.cluster.options = {
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
      change: rate(0.3),
      unreachable: rate(0.3),
      transfer: rate(0.3),
      forget: rate(0.1),
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
    for (const { raft, id } of cluster.leaders()) {
      const { autoLeave, votersOutgoing } = raft.configuration
      // Nobody else leaves what was entered explicitly; whoever proposes it may be out of it then.
      if (votersOutgoing.length > 0 && !autoLeave)
        cluster.members.get(id)?.feed({ kind: 'propose-change', token: 0, change: LEAVE })
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
    if (name === 'tick') this.#tick(member)
    else if (name === 'hurry') member.feed({ kind: 'tick', count: 12 })
    else if (name === 'crash') this.#crash(member)
    else if (name === 'propose') this.#propose(member)
    else if (name === 'read') this.#read(member)
    else if (name === 'unreachable') member.feed({ kind: 'unreachable', peer: dice.pick(members).id })
    else if (name === 'compact') member.compact()
    else if (name === 'change') this.#change(member)
    else if (name === 'transfer') member.feed({ kind: 'transfer', to: dice.pick(members).id })
    else if (name === 'forget') this.#forget(member)
  }

  /** Mostly to somebody who believes that it leads. */
  #propose(member: Member): void {
    const leaders = this.cluster.leaders()
    const to = leaders.length > 0 && this.cluster.dice.chance(0.9) ? this.cluster.dice.pick(leaders) : member
    to.propose(`p${this.#proposed++}`, this.#token++)
  }

  #tick(member: Member): void {
    const due = dueInTicks(member.raft)
    const { role, term } = member.raft
    const effects = member.feed({ kind: 'tick' })
    const isQuiet = effects.length === 0 && member.raft.role === role && member.raft.term === term
    if (due > 1 && !isQuiet)
      throw this.#broken(`${member.id} did something ${due - 1} ticks before it was due`)
    if (due > 1) this.moments.add('a tick that could be slept through')
  }

  #forget(member: Member): void {
    if (member.raft.role === 'follower' && member.raft.leader !== '')
      this.moments.add('a leader was forgotten')
    member.feed({ kind: 'forget-leader' })
  }

  #change(member: Member): void {
    const { raft } = member
    if (raft.role !== 'leader') return
    const { dice, members } = this.cluster
    const { voters, votersOutgoing, learners, autoLeave } = raft.configuration
    const transition = dice.pick(['auto', 'implicit', 'explicit'] as const)
    const isStuck = votersOutgoing.length > 0 && !autoLeave
    const kinds = ['add-node', 'add-learner-node', 'remove-node'] as const
    const known = [...voters, ...learners]
    // A new one knows nothing, not even that it is in the group.
    const fresh = members.size < 9 ? [peer(this.#learner)] : []
    const changes = Array.from({ length: 1 + dice.below(3) }, () => ({
      kind: dice.pick(kinds),
      peer: dice.pick([...known, ...fresh]),
    }))
    const change = isStuck && dice.chance(0.7) ? LEAVE : { transition, changes }
    const effects = member.feed({ kind: 'propose-change', token: this.#token++, change })
    if (!effects.some(({ kind }) => kind === 'proposed')) return
    if (!changes.some((each) => fresh.includes(each.peer)) || change === LEAVE) return
    this.cluster.add(this.#learner++, emptyLog()).autoSync = false
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
      configuration: raft.configuration,
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
      // What was just committed may have put another configuration in force, or one that came into force committed it.
      if (!isQuorum(configuration, has) && !isQuorum(before?.configuration ?? configuration, has))
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
    if (now.configuration !== before.configuration) this.#noteChange(before.configuration, now)
    if (before.role === 'leader' && now.role === 'leader' && raft.transferee !== '')
      moments.add('a leader was told to hand over')
    if (before.role === 'follower' && now.role === 'candidate') moments.add('a follower was told to lead')
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

  #noteChange(before: Configuration, { configuration, role }: View): void {
    const joint = configuration.votersOutgoing.length > 0
    if (joint && before.votersOutgoing.length === 0) this.moments.add('a joint configuration was entered')
    if (!joint && before.votersOutgoing.length > 0) this.moments.add('a joint configuration was left')
    if (configuration.learners.length > before.learners.length) this.moments.add('a learner was added')
    if (configuration.learnersNext.length > 0) this.moments.add('a voter was staged to become a learner')
    if (role === 'follower' && before.voters.length !== configuration.voters.length)
      this.moments.add('voters came or went')
  }

  #broken(what: string): Error {
    return new Error(`seed ${this.cluster.seed}: ${what}\n${this.trace.slice(-40).join('\n')}`)
  }
}

const isSame = (a: Entry, b: Entry): boolean =>
  a.term === b.term && a.kind === b.kind && Buffer.compare(a.data, b.data) === 0
