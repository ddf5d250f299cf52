/** A VM spec from the YAML (or JSON, which is YAML) that an operator wrote; the first fault with its place otherwise. */
import { SPEC_BYTES_MAX } from '../../protocols/limits.ts'
import { failed, type Outcome } from '../../protocols/outcome.ts'
import { parseYaml } from '../yaml.ts'
import { SPEC_ALIASES, type VmSpec, vmSpec } from './spec.ts'

export function parseSpec(text: string, file: string): Outcome<VmSpec> {
  const bytesMax = SPEC_BYTES_MAX
  const parsed = parseYaml({
    code: 'SPEC_INVALID',
    file,
    text,
    bytesMax,
    schema: vmSpec,
    aliases: SPEC_ALIASES,
  })
  if (!parsed.ok) return parsed
  // Defaults and escapes make the agreed form larger than what was written; the log takes no more than this.
  const bytes = Buffer.byteLength(JSON.stringify(parsed.value))
  if (bytes <= bytesMax) return parsed
  const why = `${bytes} bytes once written out, over ${bytesMax}`
  return failed({ code: 'SPEC_INVALID', file, line: 1, column: 1, key: 'document', why })
}
