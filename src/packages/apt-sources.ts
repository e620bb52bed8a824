/** Repository of apt, independent of the file format. */
export interface AptSource {
  readonly uri: string
  readonly suite: string
  readonly components: readonly string[]
  /** Path or name of the keyring, or an inline key, as in `Signed-By`. */
  readonly signedBy?: string
  /** Other options of the repository, for example `trusted=yes`. */
  readonly options: Readonly<Record<string, string>>
}

/** Options that select parts for the host. They do not apply to a root of another architecture. */
const HOST_ONLY = new Set([
  'arch',
  'architectures',
  'lang',
  'languages',
  'target',
  'targets',
  'pdiffs',
  'by-hash',
])

/** Parses the one-line format of `sources.list`. Only `deb` lines are used. */
export function parseOneLineSources(text: string): AptSource[] {
  const sources: AptSource[] = []
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)/.exec(line)
    if (match === null) continue
    const [, optionText = '', uri = '', suite = '', rest = ''] = match
    const fields = Object.fromEntries(
      optionText
        .split(/\s+/)
        .filter((option) => option.includes('='))
        .map((option) => [
          option.slice(0, option.indexOf('=')).toLowerCase(),
          option.slice(option.indexOf('=') + 1),
        ]),
    )
    sources.push(toSource(uri, suite, rest.split(/\s+/).filter(Boolean), fields))
  }
  return sources
}

/** Parses the deb822 format of `debian.sources`. */
export function parseDeb822Sources(text: string): AptSource[] {
  const sources: AptSource[] = []
  for (const stanza of text.split(/\n(?:[ \t]*\n)+/)) {
    const fields = parseStanza(stanza)
    const { types = '', uris = '', suites = '', components = '', enabled = 'yes', ...others } = fields
    if (!types.split(/\s+/).includes('deb') || /^(no|false|without|off|disable)$/i.test(enabled)) continue
    for (const uri of uris.split(/\s+/).filter(Boolean)) {
      for (const suite of suites.split(/\s+/).filter(Boolean)) {
        sources.push(toSource(uri, suite, components.split(/\s+/).filter(Boolean), others))
      }
    }
  }
  return sources
}

/**
 * Returns the repositories of the distribution: their suites start with its codename. Other
 * repositories are not used for images.
 */
export function selectDistributionSources(sources: readonly AptSource[], codename: string): AptSource[] {
  return sources.filter(
    ({ suite }) =>
      suite === codename ||
      ['-updates', '-security', '/updates'].some((suffix) => suite === `${codename}${suffix}`),
  )
}

/** Returns the same repository for another release. */
export function moveSource(source: AptSource, from: string, to: string): AptSource {
  return { ...source, suite: source.suite.replace(from, to) }
}

/** Formats the sources as deb822. */
export function formatDeb822Sources(sources: readonly AptSource[]): string {
  return sources
    .map((source) =>
      [
        'Types: deb',
        `URIs: ${source.uri}`,
        `Suites: ${source.suite}`,
        ...(source.components.length > 0 ? [`Components: ${source.components.join(' ')}`] : []),
        ...(source.signedBy === undefined ? [] : [`Signed-By: ${source.signedBy}`]),
        ...Object.entries(source.options).map(([name, value]) => `${name}: ${value}`),
        '',
      ].join('\n'),
    )
    .join('\n')
}

function parseStanza(stanza: string): Record<string, string> {
  const fields: Record<string, string> = {}
  let last: string | undefined
  for (const line of stanza.split('\n')) {
    if (line.startsWith('#')) continue
    if (/^[ \t]/.test(line)) {
      // An inline key spans several lines, whose form must be preserved.
      if (last !== undefined) fields[last] += `\n${line.trimEnd()}`
      continue
    }
    const match = /^([\w-]+):\s*(.*)$/.exec(line)
    if (match === null) continue
    last = (match[1] ?? '').toLowerCase()
    fields[last] = (match[2] ?? '').trimEnd()
  }
  return fields
}

function toSource(
  uri: string,
  suite: string,
  components: readonly string[],
  fields: Record<string, string>,
): AptSource {
  const { 'signed-by': signedBy, ...rest } = fields
  const options = Object.fromEntries(
    Object.entries(rest)
      .filter(([name]) => !HOST_ONLY.has(name) && !name.startsWith('x-'))
      .map(([name, value]) => [name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()), value]),
  )
  return { uri, suite, components, options, ...(signedBy === undefined ? {} : { signedBy }) }
}
