/** Prometheus' text format 0.0.4, read strictly: for machines that have no promtool. */

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"'
const VALUE = '[+-]?(?:Inf|NaN|[0-9]+(?:\\.[0-9]+)?(?:e[+-]?[0-9]+)?)'
const HELP = new RegExp(`^# HELP (${NAME}) (.+)$`)
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`)
const SAMPLE = new RegExp(`^(${NAME})(\\{${LABEL}(?:,${LABEL})*\\})? (${VALUE})$`)

/** What is wrong with it, one line each. */
export function faultsOf(text: string): string[] {
  const faults: string[] = []
  const helped = new Set<string>()
  const types = new Map<string, string>()
  const series = new Set<string>()
  let family = ''
  if (!text.endsWith('\n')) faults.push('the last line does not end')
  for (const line of text.split('\n')) {
    const [, help] = HELP.exec(line) ?? []
    const [, typed, type] = TYPE.exec(line) ?? []
    const [, name, labels = ''] = SAMPLE.exec(line) ?? []
    if (help !== undefined) {
      if (helped.has(help)) faults.push(`help twice: ${help}`)
      helped.add(help)
    } else if (typed !== undefined && type !== undefined) {
      if (types.has(typed)) faults.push(`type twice: ${typed}`)
      if (!helped.has(typed)) faults.push(`no help: ${typed}`)
      if ((type === 'counter') !== typed.endsWith('_total')) faults.push(`${typed} is a ${type}`)
      types.set(typed, type)
      family = typed
    } else if (name !== undefined) {
      const parts = /^(histogram|summary)$/.test(types.get(family) ?? '') ? '(_bucket|_sum|_count)?' : ''
      if (!new RegExp(`^${family}${parts}$`).test(name)) faults.push(`${name} among ${family}`)
      if (series.has(name + labels)) faults.push(`series twice: ${name}${labels}`)
      series.add(name + labels)
    } else if (line !== '') faults.push(`no line of the format: ${line}`)
  }
  if (series.size === 0) faults.push('no series')
  return faults
}
