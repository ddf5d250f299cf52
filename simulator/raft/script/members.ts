/**
 * Scripts number nodes, the core names members: a node's name is its number in hexadecimal, as etcd prints it, with zeros
 * before it, so that names are in the order of numbers.
 */
import type { MemberId } from '../../../protocols/raft/member.ts'
import type { SingleChange } from '../../../protocols/raft/types.ts'

const DIGITS = 13

export const memberOf = (node: number): MemberId => node.toString(16).padStart(DIGITS, '0')

/** 0, etcd's number for nobody, for the empty name. */
export const nodeOf = (member: MemberId): number => (member === '' ? 0 : parseInt(member, 16))

/** As etcd prints it where it does not print a decimal. */
export const nameOf = (member: MemberId): string => nodeOf(member).toString(16)

const KINDS = { v: 'add-node', l: 'add-learner-node', r: 'remove-node', u: 'update-node' } as const
const isKind = (letter: string): letter is keyof typeof KINDS => Object.hasOwn(KINDS, letter)

/** `v1 l2 r3 u4`: adds a voter and a learner, removes, updates. @throws ScriptError on anything else. */
export function parseChanges(input: string): SingleChange[] {
  const words = input === '' ? [] : input.split(' ')
  return words.map((word) => {
    if (word.length < 2) throw new ScriptError(`unknown token ${word}`)
    const letter = word.slice(0, 1)
    if (!isKind(letter)) throw new ScriptError(`unknown input: ${word}`)
    return { kind: KINDS[letter], peer: memberOf(parseNumber(word.slice(1))) }
  })
}

/** The inverse. */
export function describeChanges(changes: readonly SingleChange[]): string {
  const letters = Object.entries(KINDS)
  const letterOf = (change: SingleChange): string =>
    letters.find(([, kind]) => kind === change.kind)?.[0] ?? ''
  return changes.map((change) => `${letterOf(change)}${nodeOf(change.peer)}`).join(' ')
}

export function parseNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new ScriptError(`strconv.ParseUint: parsing "${text}": invalid syntax`)
  return Number(text)
}

/** What a command prints instead of doing anything. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError'
}
