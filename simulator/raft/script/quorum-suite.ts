/**
 * `committed` and `vote`: what two majorities make of given indexes and votes, as etcd's quorum suite prints it. Every
 * result is worked out by another way too, or on an input for which it must be the same; a difference is printed.
 *
 *   committed cfg=(1,2,3) cfgj=(3,4) idx=(_,5,6,7)      `_`: not heard of; one value per voter, none said twice
 *   vote cfg=(1,2,3) votes=(y,n,_)
 */
import type { MemberId } from '../../../protocols/raft/member.ts'
import { committedIndex, voteResult, type VoteResult, type Voters } from '../../../protocols/raft/quorum.ts'
import type { Command } from './data-driven.ts'
import { memberOf, nameOf, nodeOf, parseNumber, ScriptError } from './members.ts'

export const QUORUM_COMMANDS = ['committed', 'vote']

type Given = {
  readonly voters: readonly MemberId[]
  /** Undefined when the command is about one majority only. */
  readonly joined: readonly MemberId[] | undefined
  /** Of all voters, in the order in which they were named. */
  readonly values: ReadonlyMap<MemberId, string>
}

export function performQuorum(command: Command): string {
  const given = parse(command)
  if (typeof given === 'string') return given
  return command.name === 'committed' ? committed(given) : vote(given)
}

function parse({ name, arguments: all }: Command): Given | string {
  const valuesOf = (key: string): readonly string[] => all.find((each) => each.key === key)?.values ?? []
  const members = (key: string): MemberId[] => [
    ...new Set(valuesOf(key).map((value) => memberOf(parseNumber(value)))),
  ]
  for (const { key } of all) {
    if (!['cfg', 'cfgj', 'idx', 'votes'].includes(key)) throw new ScriptError(`unknown arg ${key}`)
  }
  const voters = members('cfg')
  const isZero = valuesOf('cfgj')[0] === 'zero'
  const joined = isZero ? [] : all.some(({ key }) => key === 'cfgj') ? members('cfgj') : undefined
  const everybody = [...new Set([...voters, ...(joined ?? [])])]
  const values = valuesOf(name === 'vote' ? 'votes' : 'idx')
  if (everybody.length !== values.length) {
    const ids = everybody.map(nodeOf).sort((a, b) => a - b)
    return `error: mismatched input (explicit or _) for voters map[${ids.map((id) => `${id}:{}`).join(' ')}]: [${values.join(' ')}]`
  }
  return { voters, joined, values: new Map(everybody.map((member, at) => [member, values[at] ?? '_'])) }
}

function committed({ voters, joined, values }: Given): string {
  const heard = [...values].filter(([, value]) => value !== '_')
  const reached = new Map(heard.map(([member, value]) => [member, parseNumber(value)]))
  const lines = [describeReached([...values.keys()], reached)]
  const index = joined === undefined ? ofOne(voters, reached, lines) : ofTwo(voters, joined, reached, lines)
  return `${lines.join('')}${indexText(index)}\n`
}

function ofOne(voters: readonly MemberId[], reached: ReadonlyMap<MemberId, number>, lines: string[]): number {
  const index = at({ voters, votersOutgoing: [] }, reached)
  const compare = (other: number, how: string): void => {
    if (other !== index) lines.push(`${indexText(other)} <-- ${how}`)
  }
  compare(byCounting(voters, reached), 'via alternative computation\n')
  compare(at({ voters: [], votersOutgoing: voters }, reached), 'via zero-joint quorum\n')
  compare(at({ voters, votersOutgoing: voters }, reached), 'via self-joint quorum\n')
  for (const [member, own] of reached) {
    // Who is below what is committed was not counted for it: that it falls back further changes nothing.
    if (index <= own || own === 0) continue
    for (const lower of [own - 1, 0]) {
      const other = at({ voters, votersOutgoing: [] }, new Map([...reached, [member, lower]]))
      compare(other, `overlaying ${nodeOf(member)}->${lower === 0 ? 0 : own}`)
    }
  }
  return index
}

function ofTwo(
  voters: readonly MemberId[],
  votersOutgoing: readonly MemberId[],
  reached: ReadonlyMap<MemberId, number>,
  lines: string[],
): number {
  const index = at({ voters, votersOutgoing }, reached)
  const other = at({ voters: votersOutgoing, votersOutgoing: voters }, reached)
  if (other !== index) lines.push(`${indexText(other)} <-- via symmetry\n`)
  return index
}

const at = (voters: Voters, reached: ReadonlyMap<MemberId, number>): number =>
  committedIndex(voters, (member) => reached.get(member) ?? 0)

/** The definition, word for word: the largest index that more than half have reached. */
function byCounting(voters: readonly MemberId[], reached: ReadonlyMap<MemberId, number>): number {
  if (voters.length === 0) return Infinity
  const candidates = [0, ...voters.map((member) => reached.get(member) ?? 0)]
  const count = (index: number): number =>
    voters.filter((member) => (reached.get(member) ?? 0) >= index).length
  return Math.max(...candidates.filter((index) => count(index) > voters.length / 2))
}

const indexText = (index: number): string => (index === Infinity ? '∞' : String(index))

/** A line for each voter, with a bar as long as there are voters that have reached less. */
function describeReached(voters: readonly MemberId[], reached: ReadonlyMap<MemberId, number>): string {
  if (voters.length === 0) return '<empty majority quorum>'
  const width = voters.length
  const indexOf = (member: MemberId): number => reached.get(member) ?? 0
  const lines = voters.toSorted().map((member) => {
    const bar = voters.filter((other) => indexOf(other) < indexOf(member)).length
    const drawn = reached.has(member) ? `${'x'.repeat(bar)}>`.padEnd(width + 1) : '?'.padEnd(width + 1)
    return `${drawn} ${String(indexOf(member)).padStart(5)}    (id=${nameOf(member)})\n`
  })
  return `${' '.repeat(width)}    idx\n${lines.join('')}`
}

const RESULTS: Readonly<Record<VoteResult, string>> = {
  won: 'VoteWon',
  lost: 'VoteLost',
  pending: 'VotePending',
}

function vote({ voters, joined, values }: Given): string {
  const votes = new Map<MemberId, boolean>()
  for (const [member, value] of values) {
    if (!['y', 'n', '_'].includes(value)) throw new ScriptError(`unknown vote: ${value}`)
    if (value !== '_') votes.set(member, value === 'y')
  }
  const votersOutgoing = joined ?? []
  const result = voteResult({ voters, votersOutgoing }, votes)
  const other = voteResult({ voters: votersOutgoing, votersOutgoing: voters }, votes)
  const note = other === result ? '' : `${RESULTS[other]} <-- via symmetry\n`
  return `${note}${RESULTS[result]}\n`
}
