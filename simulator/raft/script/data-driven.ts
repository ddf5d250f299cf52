/**
 * Scripts in the format of github.com/cockroachdb/datadriven, in which etcd's raft keeps its scenarios: a command line,
 * lines of input, `----`, what it printed, a blank line.
 *
 *   # a comment
 *   propose-conf-change 1 transition=explicit voters=(1, 2)
 *   v2 l3
 *   ----
 *   ok
 *
 * Output with blank lines in it stands between doubled separators, `----` `----`. Running a script gives the script again,
 * to the byte, with what was printed now in place of what was expected.
 */
export type Argument = { readonly key: string; readonly values: readonly string[] }

export type Command = {
  readonly name: string
  readonly arguments: readonly Argument[]
  /** What stands between the command line and the separator, without blank space around it. */
  readonly input: string
  /** 1 for the first line of the script. */
  readonly line: number
}

export type Step = {
  readonly command: Command
  readonly expected: string
  readonly actual: string
}

export type Run = {
  readonly steps: readonly Step[]
  /** The script with what was printed. */
  readonly text: string
}

/** Runs every command of a script in turn. @throws Error when the script cannot be read; its message names the line. */
export function runScript(text: string, perform: (command: Command) => string): Run {
  const lines = new Lines(text)
  const steps: Step[] = []
  for (let command = nextCommand(lines); command !== undefined; command = nextCommand(lines)) {
    const expected = nextExpected(lines)
    const actual = ended(perform(command))
    for (const line of framed(actual)) lines.out.push(line)
    steps.push({ command, expected, actual })
  }
  const whole = lines.out.map((line) => `${line}\n`).join('')
  // No blank line is needed to end what the end of the script ends.
  return { steps, text: whole.endsWith('\n\n') ? whole.slice(0, -1) : whole }
}

const SEPARATOR = '----'

/** What is read from, and what has been read or replaced so far. */
class Lines {
  readonly out: string[] = []
  readonly lines: readonly string[]
  at = 0

  constructor(text: string) {
    const lines = text.split('\n')
    // The last line end ends a line, and begins none.
    this.lines = lines.at(-1) === '' ? lines.slice(0, -1) : lines
  }

  next(): string | undefined {
    return this.lines[this.at++]
  }

  /** Goes into what is printed as it is. */
  keep(): string | undefined {
    const line = this.next()
    if (line !== undefined) this.out.push(line)
    return line
  }
}

function nextCommand(lines: Lines): Command | undefined {
  for (let line = lines.keep(); line !== undefined; line = lines.keep()) {
    const at = lines.at
    let whole = line.trim()
    if (whole.startsWith('#') || whole === '') continue
    for (let more = whole.endsWith('\\'); more; more = whole.endsWith('\\')) {
      const next = lines.keep()
      if (next === undefined) break
      whole = `${whole.slice(0, -1)} ${next.trim()}`
    }
    const [name, ...rest] = tokens(whole, at)
    // `subtest NAME` and `subtest end`: only a name for what stands between them.
    if (name?.key === 'subtest') continue
    return { name: name?.key ?? '', arguments: rest, input: inputOf(lines), line: at }
  }
  return undefined
}

function inputOf(lines: Lines): string {
  const input: string[] = []
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (line.trim() === SEPARATOR) break
    lines.out.push(line)
    input.push(line)
  }
  return input.join('\n').trim()
}

/** `word`, `word=value`, `word=` or `word=(value, value)`; a word or a value may have parentheses in it. */
function tokens(line: string, at: number): Argument[] {
  const found: Argument[] = []
  for (let rest = line.trim(); rest !== '';) {
    const key = /^[^\s=]+/.exec(rest)?.[0] ?? ''
    const value = rest.slice(key.length + 1)
    const hasValue = rest[key.length] === '='
    const length = !hasValue ? 0 : value.startsWith('(') ? lengthOfList(value) : value.search(/\s|$/)
    if (key === '' || length === -1) throw new Error(`line ${at}: cannot read ${JSON.stringify(rest)}`)
    const given = value.slice(0, length)
    const values = given.startsWith('(') ? valuesOf(given.slice(1, -1)) : [given]
    found.push({ key, values: values.filter((each) => each !== '') })
    rest = value.slice(length).trim()
  }
  return found
}

/** Up to the parenthesis that closes the first. */
function lengthOfList(text: string): number {
  let depth = 0
  return text.split('').findIndex((letter) => (depth += depthOf(letter)) === 0) + 1 || -1
}

const depthOf = (letter: string): number => (letter === '(' ? 1 : letter === ')' ? -1 : 0)

/** What stands between commas that are in no parentheses. */
function valuesOf(list: string): string[] {
  const values = ['']
  let depth = 0
  for (const letter of list) {
    depth += depthOf(letter)
    if (letter === ',' && depth === 0) values.push('')
    else values.push(`${values.pop()}${letter}`)
  }
  return values.map((each) => each.trim())
}

/** Up to a blank line, or, between doubled separators, with blank lines. */
function nextExpected(lines: Lines): string {
  const expected: string[] = []
  let line = lines.next()
  if (line?.trim() !== SEPARATOR) {
    for (; line !== undefined && line.trim() !== ''; line = lines.next()) expected.push(line)
    return ended(expected.join('\n'))
  }
  for (line = lines.next(); line !== undefined; line = lines.next()) {
    if (line.trim() === SEPARATOR && lines.lines[lines.at]?.trim() === SEPARATOR) {
      lines.at++
      if (lines.lines[lines.at]?.trim() === '') lines.at++
      break
    }
    expected.push(line)
  }
  return ended(expected.join('\n'))
}

const ended = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`)

/** An output between its separators; the last, empty piece becomes the blank line after it. */
function framed(output: string): string[] {
  const hasBlankLine = /^[\t ]*\n/m.test(output)
  return hasBlankLine
    ? [SEPARATOR, SEPARATOR, output.slice(0, -1), SEPARATOR, SEPARATOR, '']
    : [SEPARATOR, output]
}
