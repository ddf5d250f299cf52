/**
 * Rolling upgrades (protocols/features.ts): for a while the members of a group are of two versions. Clients also say what came
 * with the newest feature from the beginning, as a careless proposer would: until the group has it that is refused, and
 * nothing else may fail.
 */
import { FEATURE_LEVEL } from '../../../protocols/features.ts'
import type { Host } from '../host.ts'
import type { Member } from '../member.ts'
import type { RaftScenario, Script } from '../scenario.ts'

const VOTERS = 5
/** From one host to the next one: a restart, and time to find a leader and to catch up. */
const STEP = 6

const memberOn = (script: Script, { number }: Host): Member =>
  script.group.alive().find(({ host }) => host.number === number) as Member
const newer = (host: Host): void => void (host.version = 0)
const older = (host: Host): void => void (host.version = 1)
const withPreVote = (host: Host): void => void (host.preVote = true)
const withoutPreVote = (host: Host): void => void (host.preVote = false)

const levels = (script: Script): number[] => script.group.alive().map(({ state }) => state.level)
const halted = (script: Script): Member[] =>
  script.group.alive().filter((member) => member.halted !== undefined)

/** Nobody has the newest feature, and everybody goes on. */
function mustBeShut(script: Script, when: string): void {
  script.must(
    levels(script).every((level) => level < FEATURE_LEVEL),
    `the level was raised ${when}`,
  )
  script.must(script.group.features.used === 0, `the feature took effect ${when}`)
  script.must(halted(script).length === 0, `a member was halted ${when}`)
}

function mustBeOpen(script: Script): void {
  const found = levels(script)
  script.must(
    found.every((level) => level === FEATURE_LEVEL),
    `all run the newest version, at levels ${found.join(' ')}`,
  )
  script.must(halted(script).length === 0, 'all run the newest version, and a member is halted')
}

/** Entries go on being agreed on from here. @returns Says so when it is called. */
function goesOn(script: Script): () => void {
  const before = script.group.truth.committedTo
  return () => script.must(script.group.truth.committedTo > before + 20, 'writes did not go on')
}

/** Writes that failed, and not because the group did not have what they asked for. */
const failed = (script: Script): number =>
  script.ended().fail -
  script.simulation.clients.reduce((sum, { unreadable }) => sum + unreadable, 0) +
  script.ended().info

export const UPGRADE: readonly RaftScenario[] = [
  {
    name: 'upgrade/rolling-N-1',
    summary:
      'five voters are upgraded one by one under writes; the feature comes on after the last, and no write fails',
    voters: VOTERS,
    world: () => ({
      olderAtFirst: true,
      clients: { thinkUs: 100_000, keys: 3, reads: 0.3, retries: true },
    }),
    play(script) {
      for (const [n, host] of script.hosts.entries()) {
        script.at(4 + n * STEP, () => {
          mustBeShut(script, `with ${n} of ${VOTERS} upgraded`)
          script.reinstall(host, newer)
        })
      }
      const end = 4 + VOTERS * STEP
      script.at(end, () => mustBeOpen(script))
      script.at(end + 10, () => {
        script.must(script.group.features.used > 0, 'nobody used the feature')
        script.figure('failed', failed(script))
        script.must(failed(script) === 0, `${failed(script)} writes failed`)
      })
    },
  },
  {
    name: 'upgrade/rollback',
    summary:
      'half upgraded and rolled back nothing is lost; after the feature is on, who is rolled back is halted, and goes on when upgraded',
    voters: VOTERS,
    world: () => ({ olderAtFirst: true, safetyUs: 70_000_000 }),
    play(script) {
      const [a, b] = script.hosts as [Host, Host]
      let wentOn = (): void => {}
      script.at(4, () => script.reinstall(a, newer))
      script.at(8, () => script.reinstall(b, newer))
      script.at(14, () => script.reinstall(a, older))
      script.at(18, () => script.reinstall(b, older))
      script.at(24, () => {
        mustBeShut(script, 'though it was rolled back')
        wentOn = goesOn(script)
      })
      for (const [n, host] of script.hosts.entries())
        script.at(25 + n * 2, () => script.reinstall(host, newer))
      script.at(40, () => {
        mustBeOpen(script)
        wentOn()
      })
      // Two of five, the leader first: the others are a majority, and the halted ones store and vote.
      const back: Member[] = []
      for (const at of [41, 45]) {
        script.at(at, () => {
          const leader = script.leader()
          back.push(leader)
          script.reinstall(leader.host, older)
        })
      }
      const stoodAt: number[] = []
      script.at(50, () => {
        for (const member of back) {
          script.must(member.halted === FEATURE_LEVEL, `${member.id} was rolled back, and is not halted`)
          script.must(member.raft.role === 'follower', `${member.id} is halted, and a ${member.raft.role}`)
          stoodAt.push(member.machineIndex)
        }
        wentOn = goesOn(script)
      })
      script.at(58, () => {
        wentOn()
        for (const [n, member] of back.entries()) {
          script.must(member.machineIndex === stoodAt[n], `${member.id} is halted, and goes on`)
          script.must(member.raft.log.commit > member.machineIndex, `${member.id} stores nothing any more`)
          script.reinstall(member.host, newer)
        }
      })
      script.at(66, () => mustBeOpen(script))
    },
  },
  {
    name: 'upgrade/mixed-prevote',
    summary:
      'members with and without PreVote: elections complete, and terms stay flat again once all have it',
    voters: VOTERS,
    world: () => ({ safetyUs: 80_000_000 }),
    play(script) {
      const [a, b] = script.hosts as [Host, Host]
      let term = 0
      let wentOn = (): void => {}
      const lead = (): number => script.leader().raft.term
      for (const [n, host] of [a, b].entries())
        script.at(1 + 2 * n, () => script.reinstall(host, withoutPreVote))
      // Cut off, it raises its own term and nobody else's; back, it is freed by an election, and that is all.
      script.at(8, () => {
        term = lead()
        script.isolate(a)
      })
      script.at(18, () => {
        const alone = memberOn(script, a).raft.term
        script.must(alone > term + 3, `without PreVote its term is ${alone} after 10 s alone, from ${term}`)
        script.cut(undefined)
        wentOn = goesOn(script)
      })
      script.at(26, () => {
        wentOn()
        script.must(script.electedSince(18) <= 3, `${script.electedSince(18)} elections to free one member`)
        const now = lead()
        const terms = script.group.alive().map(({ raft }) => raft.term)
        script.must(
          terms.every((each) => each === now),
          `terms are ${terms.join(' ')}`,
        )
      })
      // A leader dies in a mixed group: the others elect one of either kind.
      script.at(27, () => {
        const old = script.leader()
        script.crash(old.host, 6)
        script.whenLed(old, (us) => script.figure('mixed-leader-ms', us / 1_000))
      })
      script.at(33, () => void script.leader())
      for (const [n, host] of [a, b].entries())
        script.at(36 + 3 * n, () => script.reinstall(host, withPreVote))
      for (const [n, host] of script.hosts.entries()) {
        const from = 46 + n * 6
        let alone = 0
        script.at(from, () => {
          alone = memberOn(script, host).raft.term
          script.isolate(host)
        })
        // A leader that is alone makes room, and the others go on to a term that it has not heard of.
        script.at(from + 3.9, () => {
          const now = memberOn(script, host).raft.term
          script.must(now === alone, `alone, host ${host.number} went from term ${alone} to ${now}`)
          script.cut(undefined)
        })
      }
    },
  },
]
