import { pollUntil } from '../../common/poll.js'
import { vmError } from '../../errors.js'
import { runProgram } from '../program.js'

export interface AptOptions {
  readonly env: NodeJS.ProcessEnv
  /** Receives each command before it runs. */
  readonly log: (line: string) => void
  readonly signal?: AbortSignal | undefined
}

/** Prefix of commands that need root: empty for root, otherwise sudo without a password. */
export type Privilege = readonly [] | readonly ['sudo', '-n']

/** Timeout of the wait for another apt, such as unattended upgrades, in seconds. */
const LOCK_TIMEOUT_S = 300

const LOCK_RETRY_MS = 2000

/**
 * Returns the prefix for commands that need root, or undefined if sudo is not available or needs a
 * password.
 */
export async function findPrivilege(
  env: NodeJS.ProcessEnv,
  uid = process.geteuid?.(),
): Promise<Privilege | undefined> {
  if (uid === 0) return []
  const answer = await runProgram('sudo', ['-n', 'true'], { timeoutMs: 10_000, env })
  return answer.exitCode === 0 ? ['sudo', '-n'] : undefined
}

/**
 * Installs packages with apt and streams its output. Package lists are updated only if a package is
 * unknown, or if its download fails because the lists are stale. A failing third-party source is
 * ignored.
 *
 * @throws {InfrastructureError} SETUP_FAILED with the last lines of apt's output.
 */
export async function installPackages(
  packages: readonly string[],
  privilege: Privilege,
  options: AptOptions,
): Promise<void> {
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages]
  let updated = await updateUnless(await areKnown(packages, options), privilege, options)
  for (;;) {
    const { exitCode, output } = await runApt(install, privilege, options)
    if (exitCode === 0) return
    if (updated || !isStale(output)) throw installError(install, exitCode, output)
    updated = await updateUnless(false, privilege, options)
  }
}

/** Returns true if the current package lists contain all packages. */
async function areKnown(packages: readonly string[], options: AptOptions): Promise<boolean> {
  const policy = await runProgram('apt-cache', ['policy', ...packages], {
    timeoutMs: 60_000,
    env: options.env,
  })
  const candidates = [...policy.stdout.matchAll(/^ {2}Candidate: (.+)$/gm)].map((match) => match[1])
  return candidates.length >= packages.length && !candidates.includes('(none)')
}

/**
 * Updates the package lists unless `skip` is true. Ignores the exit code: the installation shows if
 * the packages are available.
 */
async function updateUnless(skip: boolean, privilege: Privilege, options: AptOptions): Promise<boolean> {
  if (skip) return false
  const update = async () => {
    const { output } = await runApt(['apt-get', 'update', '-q'], privilege, options)
    // apt waits for the lock of dpkg by itself, but not for the lock of the package lists.
    if (!/Could not get lock|Unable to lock directory/.test(output)) return true
    options.log('Waiting for another apt process …')
    return undefined
  }
  const timeoutMs = LOCK_TIMEOUT_S * 1000
  await pollUntil(update, { intervalMs: LOCK_RETRY_MS, timeoutMs, signal: options.signal })
  return true
}

/** Returns true if the output shows that the package lists are older than the repositories. */
function isStale(output: string): boolean {
  return /Failed to fetch|404 +Not Found|Unable to locate package|has no installation candidate|Hash Sum mismatch/.test(
    output,
  )
}

async function runApt(
  command: readonly string[],
  privilege: Privilege,
  options: AptOptions,
): Promise<{ exitCode: number | undefined; output: string }> {
  const { execa } = await import('execa')
  const [program = 'apt-get', ...args] = command
  const locked = ['-o', `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`]
  const rooted = [
    ...privilege,
    'env',
    'DEBIAN_FRONTEND=noninteractive',
    'LC_ALL=C',
    program,
    ...locked,
    ...args,
  ]
  options.log(`$ ${[...privilege, ...command].join(' ')}`)
  // No timeout: an apt that is killed while dpkg runs leaves packages half installed.
  const result = await execa('env', rooted, {
    reject: false,
    env: options.env,
    extendEnv: false,
    stdin: 'ignore',
    stdout: ['inherit', 'pipe'],
    stderr: ['inherit', 'pipe'],
    all: true,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  })
  options.signal?.throwIfAborted()
  return { exitCode: result.exitCode, output: result.all ?? '' }
}

function installError(command: readonly string[], exitCode: number | undefined, output: string): Error {
  return vmError('SETUP_FAILED', {
    summary: `The installation of packages with apt failed (exit code ${exitCode ?? 'unknown'}).`,
    evidence: [
      { label: 'Command', text: command.join(' ') },
      { label: "Last lines of apt's output", text: output.trimEnd().split('\n').slice(-15).join('\n') },
    ],
    hint: 'Fix `apt-get update` and the command above on this host (network, sources, free space), then run `withvm setup` again.',
  })
}
