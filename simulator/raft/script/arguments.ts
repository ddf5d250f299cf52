/** What stands behind the name of a command. */
import type { Command } from './data-driven.ts'
import { type Environment, nodeAt } from './environment.ts'
import { parseNumber, ScriptError } from './members.ts'
import type { ScriptNode } from './node.ts'

/** `1 2 3`: the numbers of nodes; the rest is `key=value`. */
export const idsOf = ({ arguments: all }: Command): number[] =>
  all.filter(({ values }) => values.length === 0).map(({ key }) => parseNumber(key))

/** The first of them. */
export const nodeIn = (environment: Environment, command: Command): ScriptNode =>
  nodeAt(environment, idsOf(command)[0] ?? 0)

export const valueOf = ({ arguments: all }: Command, key: string): string | undefined =>
  all.find((each) => each.key === key)?.values[0]

/** As Go reads it. */
export const isTrue = (value = 'false'): boolean => ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)

/** @throws ScriptError on what Go would not read. */
export function readBoolean(value: string): boolean {
  if (isTrue(value) || ['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(value)) return isTrue(value)
  throw new ScriptError(`strconv.ParseBool: parsing "${value}": invalid syntax`)
}
