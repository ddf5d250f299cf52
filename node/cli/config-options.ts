/** The configuration's keys as flags of init, join, up and config show. */
import { CONFIG_KEYS, type ConfigKey } from '../config-keys.ts'
import type { OptionRow } from './command.ts'

/** These are on every command. */
const GLOBAL = new Set(['data-dir', 'socket'])

const VALUES: Readonly<Record<ConfigKey['kind'], string>> = {
  text: ' <text>',
  path: ' <path>',
  list: ' <multiaddr>',
  number: ' <number>',
  boolean: '',
  labels: ' <key=value>',
  limits: ' <rate>',
}

export const CONFIG_OPTIONS: readonly OptionRow[] = CONFIG_KEYS.flatMap((row): OptionRow[] => {
  const { env, flag, kind, otherwise, summary } = row
  if (GLOBAL.has(flag)) return []
  const said = `${summary} (${env})`
  const repeat = kind === 'list' || kind === 'labels'
  const option = { flags: `--${flag}${VALUES[kind]}`, summary: said, ...(repeat && { repeat }) }
  if (kind !== 'boolean') return [{ ...option, summary: `${said}; otherwise ${otherwise}` }]
  return [option, { flags: `--no-${flag}`, summary: `do not ${summary}` }]
})
