/** docs/VM-SPEC.md from the schema of VM specs. */
import { vmSpec } from '../../node/vm/spec.ts'
import { inline } from './source.ts'

/** What of JSON Schema our schemas are made of. */
type Schema = {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly maxItems?: number
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Schema | boolean
}

/** A spec that says something under every key; print.test.ts has it checked as `vm create -f` would. */
export const SPEC_EXAMPLE = `version: 1
name: web
cpus: 2
cpuModel: qemu64
memory: 2GiB # or memoryMiB: 2048
firmware: bios
disks:
  - { image: debian-12, size: 10GiB } # or sizeMiB: 10240
nics:
  - { kind: bridge, bridge: br0 }
  - { kind: user, mac: '52:54:00:12:34:56' }
cloudInit:
  userData: |
    #cloud-config
    hostname: web
autostart: true
dependsOn: [db]
labels: { disk: ssd }
policy: autonomous
failover: manual
`

export function specPage(): string {
  const schema = vmSpec.toJSONSchema() as Schema
  const rows = rowsOf(schema, '')
  return `<!-- Printed from node/vm/spec.ts by \`npm run docs\`. Change it there. -->

# VM spec, version 1

What \`godwit vm create -f FILE\` reads, as YAML or JSON, and what \`godwit vm show NAME -o yaml\` shows under \`spec\`. A fault is told with its
file, line, column and key, exit status 2. A size is a number of MiB, or has a unit (MiB, GiB, TiB) under the shorter key.

| key | type | what it is | default |
|---|---|---|---|
${rows.join('\n')}

\`policy\` and \`failover\` are kept and not acted on yet: [ARCHITECTURE.md](ARCHITECTURE.md#not-provided-yet).

\`\`\`yaml
${SPEC_EXAMPLE}\`\`\`
`
}

function rowsOf({ properties = {}, required = [] }: Schema, prefix: string): string[] {
  return Object.entries(properties).flatMap(([key, each]) => {
    const name = `${prefix}${key}`
    const otherwise =
      each.default === undefined
        ? required.includes(key)
          ? 'none: it must be said'
          : ''
        : shown(each.default)
    const row = `| \`${name}\` | ${typeOf(each)} | ${inline(each.description ?? '')} | ${otherwise} |`
    const inner = each.type === 'array' ? rowsOf(each.items ?? {}, `${name}[].`) : rowsOf(each, `${name}.`)
    return [row, ...inner]
  })
}

const shown = (value: unknown): string => `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``

function typeOf(schema: Schema): string {
  const { type = '', enum: choices, minimum, maximum, maxLength, maxItems, items } = schema
  if (schema.const !== undefined) return shown(schema.const)
  if (choices !== undefined) return choices.map(shown).join(' or ')
  if (type === 'array') return `list of at most ${maxItems}${items?.type === 'string' ? ' texts' : ''}`
  if (type === 'integer') return `${minimum?.toLocaleString('en')} to ${maximum?.toLocaleString('en')}`
  if (type === 'string')
    return `text${maxLength === undefined ? '' : `, at most ${maxLength.toLocaleString('en')}`}`
  if (type === 'boolean') return 'true or false'
  return schema.properties === undefined ? 'map of texts' : 'map'
}
