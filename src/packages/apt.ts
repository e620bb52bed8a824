import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type HostTool, runTool } from '../common/process/run-tool.js'
import { vmError } from '../errors.js'
import {
  type AptSource,
  formatDeb822Sources,
  moveSource,
  parseDeb822Sources,
  parseOneLineSources,
  selectDistributionSources,
} from './apt-sources.js'
import type { Distribution } from './distribution.js'
import { describeUncheckedSource, listSourceFiles, listUncheckedSources } from './unchecked-sources.js'

export const APT_TOOLS = {
  get: {
    program: 'apt-get',
    aptPackage: 'apt',
    why: 'downloads the packages of an image',
    usesNetwork: true,
  },
  config: {
    program: 'apt-config',
    aptPackage: 'apt',
    why: "reads the host's proxy for packages",
    usesNetwork: true,
  },
  deb: { program: 'dpkg-deb', aptPackage: 'dpkg', why: 'unpacks packages', parsesImages: true },
} as const satisfies Record<string, HostTool>

const UPDATE_TIMEOUT_MS = 180_000
const DOWNLOAD_TIMEOUT_MS = 600_000
const NETWORK_HINT =
  "withvm reads the distribution's own repositories from /etc/apt and its proxy settings. " +
  'Check that `apt-get update` works on this host, then run it again.'

/** A private apt installation that needs no privileges and touches nothing of the host's. */
export interface AptRoot {
  /** Downloads the packages that `keep` picks from the dependency closure of `packages`, and gives their paths. */
  download(options: {
    readonly packages: readonly string[]
    /** @default all of the closure */
    readonly keep?: (packageName: string) => boolean
  }): Promise<string[]>
}

export interface AptRootOptions {
  readonly dir: string
  /** This host's. */
  readonly distribution: Distribution
  /** Another release of it, by its codename. @default the host's */
  readonly codename?: string | undefined
  /** Debian's name of the architecture, as `amd64`. */
  readonly arch: string
  /** Told where some of the repositories could not be read, and others can. @default nobody */
  readonly report?: ((step: string) => void) | undefined
  /** Gets the warning about sources whose packages apt does not check. @default a line on stderr, once in a process */
  readonly warn?: ((line: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** Where the host keeps its apt configuration. @default '/etc/apt' */
  readonly hostAptDir?: string
}

/**
 * Makes the root in `dir` and fetches the package lists. Updates that cannot be had now are gone on without: a mirror is
 * in between two states for minutes to hours, and with some architectures more often.
 *
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED when the host has no repositories of its distribution, or
 *   they cannot be reached, or have nothing for that architecture. TOOL_NOT_FOUND without apt.
 */
export async function createAptRoot(options: AptRootOptions): Promise<AptRoot> {
  const { dir, distribution, arch, report, signal } = options
  const { codename = distribution.codename, hostAptDir = '/etc/apt' } = options
  const own = await readDistributionSources(hostAptDir, distribution)
  await warnOfUncheckedSources(distribution, { hostAptDir, warn: options.warn })
  const sources = own.map((source) => moveSource(source, distribution.codename, codename))
  for (const sub of ['state/lists/partial', 'cache/archives/partial', 'sources', 'debs', 'log']) {
    await mkdir(join(dir, sub), { recursive: true })
  }
  const parts = join(dir, 'sources')
  const useSources = (used: readonly AptSource[]) =>
    writeFile(join(parts, 'host.sources'), formatDeb822Sources(adaptMirrors(used, distribution, arch)))
  await writeFile(join(dir, 'status'), '')
  await writeFile(join(dir, 'apt.conf'), `${await readAcquireSettings(signal)}\n${buildConfig(dir, arch)}`)
  const env = { APT_CONFIG: join(dir, 'apt.conf'), DEBIAN_FRONTEND: 'noninteractive' }
  const update = async (used: readonly AptSource[]) => {
    await useSources(used)
    await runTool({
      tool: APT_TOOLS.get,
      args: ['-qq', '-o', 'APT::Update::Error-Mode=any', 'update'],
      purpose: 'fetching the package lists',
      timeoutMs: UPDATE_TIMEOUT_MS,
      hint: NETWORK_HINT,
      env,
      signal,
    })
  }
  try {
    await update(sources)
  } catch (error) {
    const release = sources.filter(({ suite }) => suite === codename)
    if (release.length === 0 || release.length === sources.length || signal?.aborted) throw error
    await update(release)
    report?.(`without the updates of ${codename}, whose lists for ${arch} cannot be read now`)
  }
  if (!(await hasLists(dir, arch))) throw noPackages(distribution, arch)

  return {
    async download({ packages, keep = () => true }) {
      const listing = await runTool({
        tool: APT_TOOLS.get,
        args: ['-qq', 'install', '--print-uris', '--yes', ...packages],
        purpose: `finding what ${packages.join(', ')} depend on`,
        timeoutMs: UPDATE_TIMEOUT_MS,
        env,
        signal,
      })
      const closure = parsePrintedUris(Buffer.from(listing).toString())
      const wanted = closure.filter(({ name }) => packages.includes(name) || keep(name))
      const debs = join(dir, 'debs')
      await runTool({
        tool: APT_TOOLS.get,
        args: ['-qq', 'download', ...wanted.map(({ name, version }) => `${name}=${version}`)],
        purpose: 'downloading packages',
        timeoutMs: DOWNLOAD_TIMEOUT_MS,
        hint: NETWORK_HINT,
        cwd: debs,
        env,
        signal,
      })
      return (await readdir(debs)).filter((file) => file.endsWith('.deb')).map((file) => join(debs, file))
    },
  }
}

async function hasLists(dir: string, arch: string): Promise<boolean> {
  const names = await readdir(join(dir, 'state/lists'))
  return names.some((name) => name.endsWith(`binary-${arch}_Packages`))
}

function noPackages({ name, codename }: Distribution, arch: string) {
  return vmError('IMAGE_BUILD_FAILED', {
    summary: `${name} has no packages for ${arch}, of which the image would be made.`,
    expected: `lists of packages for ${arch} in the repositories of ${codename}`,
    got: 'none',
    hint: 'Build it on a host whose distribution has the architecture, or give the path of a disk image, or `kernel` and `initrd`.',
  })
}

/** Unpacks a package's files, without its scripts. */
export async function extractPackage(deb: string, dir: string, signal?: AbortSignal): Promise<void> {
  await runTool({
    tool: APT_TOOLS.deb,
    args: ['-x', deb, dir],
    purpose: 'unpacking a package',
    timeoutMs: 120_000,
    signal,
  })
}

/** Reads what `apt-get --print-uris` prints: `'URI' file_name size hash`. */
export function parsePrintedUris(text: string): Array<{ name: string; version: string }> {
  return text.split('\n').flatMap((line) => {
    const file = /^'[^']+' (\S+)_([^_\s]+)_[^_\s]+\.deb /.exec(line)
    if (file === null) return []
    return [{ name: file[1] ?? '', version: decodeURIComponent(file[2] ?? '') }]
  })
}

/** The repositories of its own distribution that this host uses. @throws {InfrastructureError} IMAGE_BUILD_FAILED when it has none. */
export async function readDistributionSources(
  aptDir: string,
  distribution: Distribution,
): Promise<AptSource[]> {
  const all: AptSource[] = []
  for (const file of await listSourceFiles(aptDir)) {
    const text = await readFile(file, 'utf8').catch(() => '')
    if (file.endsWith('.list')) all.push(...parseOneLineSources(text))
    if (file.endsWith('.sources')) all.push(...parseDeb822Sources(text))
  }
  const own = selectDistributionSources(all, distribution.codename)
  if (own.length > 0) return own
  throw vmError('IMAGE_BUILD_FAILED', {
    summary: `This host's apt has no repository of ${distribution.name}, from which the image is made.`,
    expected: `a deb source in ${aptDir} with the suite ${distribution.codename}`,
    got: all.length === 0 ? 'no deb source at all' : `only ${all.map(({ suite }) => suite).join(', ')}`,
    hint: `Add the repository of ${distribution.codename} to ${aptDir}/sources.list, or give the path of a disk image instead.`,
  })
}

let hasWarned = false

/** Reports options of the host's sources by which packages of an image are not checked. */
export async function warnOfUncheckedSources(
  { codename, name }: Distribution,
  {
    hostAptDir = '/etc/apt',
    warn,
  }: { readonly hostAptDir?: string; readonly warn?: ((line: string) => void) | undefined } = {},
): Promise<void> {
  const found = await listUncheckedSources(hostAptDir, codename)
  if (found.length === 0 || (hasWarned && warn === undefined)) return
  const places = found.map(describeUncheckedSource).join(', ')
  const line = `the image is made of packages of ${name} whose signatures apt does not check: ${places}`
  if (warn !== undefined) return warn(line)
  hasWarned = true
  process.stderr.write(`withvm: warning: ${line}.\n`)
}

/** Ubuntu keeps the packages of its less common architectures on other servers. */
function adaptMirrors(sources: readonly AptSource[], distribution: Distribution, arch: string): AptSource[] {
  if (distribution.id !== 'ubuntu' || arch === 'amd64' || arch === 'i386') return [...sources]
  return sources.map((source) => ({
    ...source,
    uri: source.uri.replace(
      /^https?:\/\/(?:[a-z.]*archive|security)\.ubuntu\.com\/ubuntu\/?$/,
      'http://ports.ubuntu.com/ubuntu-ports',
    ),
  }))
}

/** Proxy, retries and certificates as the host has them; its hooks stay out. */
export async function readAcquireSettings(signal: AbortSignal | undefined): Promise<string> {
  const dump = await runTool({
    tool: APT_TOOLS.config,
    args: ['dump'],
    purpose: "reading the host's apt configuration",
    timeoutMs: 30_000,
    signal,
  })
  return Buffer.from(dump)
    .toString()
    .split('\n')
    .filter((line) => /^Acquire::(http|https|ftp|Retries|ForceIPv|Proxy)/i.test(line))
    .join('\n')
}

function buildConfig(dir: string, arch: string): string {
  const settings: Record<string, string> = {
    'Dir::State': join(dir, 'state'),
    'Dir::State::status': join(dir, 'status'),
    'Dir::Cache': join(dir, 'cache'),
    'Dir::Log': join(dir, 'log'),
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::parts': '/dev/null',
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': join(dir, 'sources'),
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Architecture': arch,
    'APT::Install-Recommends': 'false',
    'APT::Get::Assume-Yes': 'true',
    // Root's apt would drop its rights to a user that cannot read a private directory.
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
    'Debug::NoLocking': 'true',
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";`)
  return [...lines, '#clear APT::Architectures;', `APT::Architectures { "${arch}"; };`, ''].join('\n')
}
