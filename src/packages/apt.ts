import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { logToStderr } from '../common/log.js'
import { type HostTool, runTool } from '../common/process/run-tool.js'
import { formatBytes } from '../common/units.js'
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
/** Interval at which the progress of a download is reported, in milliseconds. */
const AMOUNT_INTERVAL_MS = 500
const NETWORK_HINT =
  "withvm reads the distribution's own repositories from /etc/apt and its proxy settings. " +
  'Check that `apt-get update` works on this host, then run it again.'

/** Private apt root that needs no privileges and does not touch the apt of the host. */
export interface AptRoot {
  /**
   * Downloads `packages` and those packages of their dependency closure that `keep` accepts.
   * Returns the paths of the files.
   */
  download(options: {
    readonly packages: readonly string[]
    /** @default accepts all */
    readonly keep?: (packageName: string) => boolean
  }): Promise<string[]>
}

export interface AptRootOptions {
  readonly dir: string
  /** Distribution of this host. */
  readonly distribution: Distribution
  /** Codename of another release of the distribution. @default that of the host */
  readonly codename?: string | undefined
  /** Architecture as named by Debian, for example `amd64`. */
  readonly arch: string
  /**
   * Called with the progress of downloads, and if some repositories are unreadable and the others
   * are used alone. @default no report
   */
  readonly report?: ((step: string, amount?: string) => void) | undefined
  /**
   * Receives the warning about sources whose packages apt does not verify. @default prints it on
   * stderr once in a process
   */
  readonly warn?: ((line: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** Folder of the host's apt configuration. @default '/etc/apt' */
  readonly hostAptDir?: string
}

/**
 * Creates the root in `dir` and fetches the package lists. If the lists of updates cannot be read,
 * only the release is used: a mirror can be inconsistent for hours while it synchronizes.
 *
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED when the host has no repositories of its
 *   distribution, or they are unreachable or have no packages for the architecture. TOOL_NOT_FOUND
 *   without apt.
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
    report?.(`continuing without the updates of ${codename}: their lists for ${arch} cannot be read now`)
  }
  if (!(await hasLists(dir, arch))) throw noPackages(distribution, arch)

  return {
    async download({ packages, keep = () => true }) {
      const listing = await runTool({
        tool: APT_TOOLS.get,
        args: ['-qq', 'install', '--print-uris', '--yes', ...packages],
        purpose: `resolving the dependencies of ${packages.join(', ')}`,
        timeoutMs: UPDATE_TIMEOUT_MS,
        env,
        signal,
      })
      const closure = parsePrintedUris(Buffer.from(listing).toString())
      const wanted = closure.filter(({ name }) => packages.includes(name) || keep(name))
      const debs = join(dir, 'debs')
      const progress = reportDownload({ debs, totalBytes: sumBytes(wanted), report })
      try {
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
      } finally {
        progress.stop()
      }
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
    summary: `The image cannot be built: ${name} provides no packages for ${arch}.`,
    expected: `package lists for ${arch} in the repositories of ${codename}`,
    got: 'none',
    hint: 'Build the image on a host whose distribution supports the architecture, or specify the path of a disk image, or `kernel` and `initrd`.',
  })
}

/** Unpacks the files of a package without running its scripts. */
export async function extractPackage(deb: string, dir: string, signal?: AbortSignal): Promise<void> {
  await runTool({
    tool: APT_TOOLS.deb,
    args: ['-x', deb, dir],
    purpose: 'unpacking a package',
    timeoutMs: 120_000,
    signal,
  })
}

/** Package to download. */
interface PackageFile {
  readonly name: string
  readonly version: string
  readonly bytes: number
}

/** Parses the output of `apt-get --print-uris`: `'URI' file_name size hash`. */
export function parsePrintedUris(text: string): PackageFile[] {
  return text.split('\n').flatMap((line) => {
    const file = /^'[^']+' (\S+)_([^_\s]+)_[^_\s]+\.deb (\d+)/.exec(line)
    if (file === null) return []
    const [, name = '', version = '', bytes] = file
    return [{ name, version: decodeURIComponent(version), bytes: Number(bytes) }]
  })
}

function sumBytes(files: readonly PackageFile[]): number {
  return files.reduce((total, { bytes }) => total + bytes, 0)
}

/**
 * Reports the size of the received files until `stop()`. apt reports amounts only to a terminal.
 */
function reportDownload({
  debs,
  totalBytes,
  report,
}: Pick<AptRootOptions, 'report'> & { readonly debs: string; readonly totalBytes: number }) {
  const show = (bytes: number) =>
    report?.('downloading packages', `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`)
  const measure = async () => {
    const files = await readdir(debs)
    const sizes = await Promise.all(files.map((file) => stat(join(debs, file)).then(({ size }) => size)))
    show(sizes.reduce((total, size) => total + size, 0))
  }
  show(0)
  const timer = setInterval(() => {
    measure().catch(() => {}) // apt renames a file at its end
  }, AMOUNT_INTERVAL_MS).unref()
  return { stop: () => clearInterval(timer) }
}

/**
 * Returns the apt sources of this host that belong to its distribution. @throws
 * {InfrastructureError} IMAGE_BUILD_FAILED when it has none.
 */
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
    summary: `The apt configuration of this host has no repository of ${distribution.name}, from which the image is built.`,
    expected: `a deb source in ${aptDir} with the suite ${distribution.codename}`,
    got: all.length === 0 ? 'no deb source at all' : `only ${all.map(({ suite }) => suite).join(', ')}`,
    hint: `Add the repository of ${distribution.codename} to ${aptDir}/sources.list, or specify the path of a disk image.`,
  })
}

let hasWarned = false

/**
 * Warns about options of the host's sources that disable signature checks for packages of an image.
 */
export async function warnOfUncheckedSources(
  { codename, name }: Distribution,
  {
    hostAptDir = '/etc/apt',
    warn,
  }: { readonly hostAptDir?: string; readonly warn?: ((line: string) => void) | undefined } = {},
): Promise<void> {
  const found = await listUncheckedSources(hostAptDir, codename)
  if (found.length === 0 || (hasWarned && warn === undefined)) return
  const locations = found.map(describeUncheckedSource).join(', ')
  const line = `the image is built from packages of ${name} whose signatures apt does not verify: ${locations}`
  if (warn !== undefined) return warn(line)
  hasWarned = true
  logToStderr(`warning: ${line}.`)
}

/** Ubuntu serves the packages of its less common architectures from other servers. */
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

/** Returns the proxy, retry and certificate settings of the host. Its hooks are left out. */
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
    // As root, apt would switch to a user that cannot read a private directory.
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
    'Debug::NoLocking': 'true',
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";`)
  return [...lines, '#clear APT::Architectures;', `APT::Architectures { "${arch}"; };`, ''].join('\n')
}
