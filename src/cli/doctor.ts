import { findNamespaceProblems, type NamespaceQuery } from '../../images/debian/namespaces.js'
import { IMAGE_TOOLS } from '../../images/recipes.js'
import { type HostCheck, type HostReport, inspectHost } from '../host/setup/inspect.js'
import { selectNeeds } from '../host/tools.js'
import { readDistribution } from '../packages/distribution.js'
import { describeUncheckedSource, listUncheckedSources } from '../packages/unchecked-sources.js'
import { EXIT_CODES } from './exit-code.js'
import { formatTable } from './table.js'

/**
 * Runs `withvm doctor`: reports what this host supports. Returns 0 when guests can run here,
 * otherwise 69.
 */
export async function runDoctor(options: {
  readonly json: boolean
  readonly fresh: boolean
}): Promise<number> {
  const needs = selectNeeds(IMAGE_TOOLS)
  const inspected = await inspectHost({ needs, fresh: options.fresh })
  const more = [...(await inspectSources()), ...(await inspectNamespaces())]
  const report = { ...inspected, checks: [...inspected.checks, ...more] }
  process.stdout.write(`${options.json ? JSON.stringify(report, undefined, 2) : formatReport(report)}\n`)
  return report.canRunGuests ? EXIT_CODES.ok : EXIT_CODES.infrastructure
}

/**
 * Checks that apt verifies the signatures of the packages that images are built from. Returns no
 * checks on a host without apt. Tests pass other paths of os-release(5) and of the configuration of
 * apt.
 */
export async function inspectSources({
  osReleasePath = '/etc/os-release',
  aptDir = '/etc/apt',
} = {}): Promise<HostCheck[]> {
  const distribution = await readDistribution(osReleasePath).catch(() => undefined)
  if (distribution === undefined) return []
  const unchecked = await listUncheckedSources(aptDir, distribution.codename)
  if (unchecked.length === 0) return []
  return [
    {
      id: 'sources',
      label: 'Package sources',
      state: 'note',
      found: `apt does not verify the signatures of packages that images are built from: ${unchecked.map(describeUncheckedSource).join(', ')}`,
      fix: 'Remove that option, and set the key of the repository with `signed-by` instead.',
    },
  ]
}

/**
 * Checks that this user can build the image debian. Returns no checks on a host without apt. Tests
 * pass another user and another root folder.
 */
export async function inspectNamespaces(query: NamespaceQuery = {}): Promise<HostCheck[]> {
  const distribution = await readDistribution(`${query.root ?? ''}/etc/os-release`).catch(() => undefined)
  if (distribution === undefined) return []
  const check = { id: 'namespaces', label: 'Debian builds' }
  const problems = await findNamespaceProblems(query)
  if (problems.length === 0)
    return [{ ...check, state: 'ok', found: 'this user can build the image debian', fix: null }]
  const found = problems.map(({ got }) => got).join('; ')
  return [
    {
      ...check,
      state: 'note',
      found: `this user cannot build the image debian: ${found}`,
      fix: problems.map(({ fix }) => fix).join(' '),
    },
  ]
}

const MARKS = { ok: 'ok', note: 'note', problem: 'PROBLEM' } as const

/** Formats one row for each check, followed by its fix. */
export function formatReport(report: HostReport): string {
  const rows = report.checks.flatMap(({ label, state, found, fix }) => [
    [MARKS[state], label, found],
    ...(fix === null ? [] : [['', '', `Fix: ${fix}`]]),
  ])
  const verdict = report.canRunGuests ? 'Guests can run here.' : 'Guests cannot run here.'
  return [formatTable(rows), '', verdict].join('\n')
}
