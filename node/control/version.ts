/** The version that this copy of Godwit says it is: package.json's. */
import { readFileSync } from 'node:fs'

const about: { version?: string } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
)

export const VERSION = about.version ?? '0.0.0'
