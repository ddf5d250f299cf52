/** All nodes of a script, what is under way between them, and what has been printed by the command in hand. */
import { keyOf, saidText } from './text.ts'
import type { Mail, ScriptNode } from './node.ts'
import { ScriptError } from './members.ts'

const LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL', 'NONE'] as const
type Level = (typeof LEVELS)[number]

export type Environment = {
  readonly nodes: ScriptNode[]
  mail: Mail[]
  /** Lines below it are not printed; with NONE nothing is but errors. */
  level: Level
  output: string
  /** Entries that were proposed as changes of etcd's first kind. */
  readonly v1: Set<string>
}

export const newEnvironment = (): Environment => ({
  nodes: [],
  mail: [],
  level: 'DEBUG',
  output: '',
  v1: new Set(),
})

/** With NONE nothing is printed, whoever prints it. */
export function print(environment: Environment, text: string): void {
  if (environment.level !== 'NONE') environment.output += text
}

export function setLevel(environment: Environment, name: string): void {
  const level = LEVELS.find((each) => each === name.toUpperCase())
  if (level === undefined) throw new ScriptError(`log levels must be either of [${LEVELS.join(' ')}]`)
  environment.level = level
}

/** A line of a log: `INFO 1 became leader at term 2`. */
export function log(environment: Environment, lines: readonly string[]): void {
  for (const line of lines) {
    const level = LEVELS.findIndex((each) => line.startsWith(`${each} `))
    if (level >= LEVELS.indexOf(environment.level)) print(environment, `${line}\n`)
  }
}

/** What `action` prints, two columns to the right. */
export function indented(environment: Environment, action: () => void): void {
  const before = environment.output
  environment.output = ''
  action()
  const lines = environment.output.split('\n').slice(0, environment.output.endsWith('\n') ? -1 : undefined)
  const text = environment.output === '' ? '' : lines.map((line) => `  ${line}\n`).join('')
  environment.output = before + text
}

export function nodeAt({ nodes }: Environment, id: number): ScriptNode {
  const node = nodes[id - 1]
  if (node === undefined) throw new ScriptError(`there is no node ${id}`)
  return node
}

export const describeMail = ({ v1 }: Environment, { said }: Mail): string => saidText(said, v1)

export const rememberV1 = ({ v1 }: Environment, entry: { term: number; index: number }): void => {
  v1.add(keyOf(entry))
}
