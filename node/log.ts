/**
 * Port: what a peer writes for the people who run it; and its one adapter, pino. JSON lines on stderr; under journald
 * each line begins with its syslog priority, which journald takes off. Secrets never reach a line by their own names.
 */
import { fstatSync, writeSync } from 'node:fs'
import { pino } from 'pino'

type Fields = Readonly<Record<string, unknown>>
export type Level = 'debug' | 'info' | 'warn' | 'error'

export type Log = { readonly [L in Level]: (fields: Fields, text: string) => void }

/** Priorities of syslog(3). */
const PRIORITY: Readonly<Record<number, number>> = { 20: 7, 30: 6, 40: 4, 50: 3 }
const SECRETS = ['token', 'secret', 'key', 'privateKey']
const STDERR = 2
/** A reader that is this far behind loses lines: a peer never waits for its log. */
const WRITE_TRIES = 5

export function openLog(
  level: Level,
  journal: boolean = underJournal(process.env['JOURNAL_STREAM']),
  write: (line: string) => void = toStderr,
): Log {
  const destination = {
    // pino's own way to tell a destination the level of the line.
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 30,
    write(line: string): void {
      write(journal ? `<${PRIORITY[this.lastLevel] ?? 6}>${line}` : line)
    },
  }
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    destination,
  )
  return {
    debug: (fields, text) => logger.debug(fields, text),
    info: (fields, text) => logger.info(fields, text),
    warn: (fields, text) => logger.warn(fields, text),
    error: (fields, text) => logger.error(fields, text),
  }
}

/** A log that says nothing, for tests and for commands that are no peer. */
export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** JOURNAL_STREAM names the device and inode of journald's socket; a stderr that was redirected is another. */
function underJournal(stream: string | undefined): boolean {
  if (stream === undefined) return false
  try {
    const { dev, ino } = fstatSync(STDERR)
    return stream === `${dev}:${ino}`
  } catch {
    return false
  }
}

function toStderr(line: string): void {
  for (let tries = 0; tries < WRITE_TRIES; tries++) {
    try {
      writeSync(STDERR, line)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
    }
  }
}
