import { IMAGE_TOOLS } from '../../images/recipes.js'
import { type HostCheck, type HostReport, inspectHost } from '../host/setup/inspect.js'
import { selectNeeds } from '../host/tools.js'
import { readDistribution } from '../packages/distribution.js'
import { describeUncheckedSource, listUncheckedSources } from '../packages/unchecked-sources.js'
import { EXIT_CODES } from './exit-code.js'

/** `withvm doctor`: what this host can do. Ends with 0 when guests can run here, else with 69. */
export async function runDoctor(options: {
  readonly json: boolean
  readonly fresh: boolean
}): Promise<number> {
  const needs = selectNeeds(IMAGE_TOOLS)
  const inspected = await inspectHost({ needs, fresh: options.fresh })
  const report = { ...inspected, checks: [...inspected.checks, ...(await inspectSources())] }
  process.stdout.write(`${options.json ? JSON.stringify(report, undefined, 2) : formatReport(report)}\n`)
  return report.canRunGuests ? EXIT_CODES.ok : EXIT_CODES.infrastructure
}

/**
 * Whether apt checks the packages that images are made of. On a host without apt there is nothing to check.
 *
 * @param places where the host describes itself, and where apt's sources are
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
      found: `apt does not check the signatures of packages that images are made of: ${unchecked.map(describeUncheckedSource).join(', ')}`,
      fix: 'Remove that option, and name the key of the repository with `signed-by` instead.',
    },
  ]
}

const MARKS = { ok: 'ok', note: 'note', problem: 'PROBLEM' } as const

/** A row for each check; below it, what to do. */
export function formatReport(report: HostReport): string {
  const labelWidth = Math.max(...report.checks.map(({ label }) => label.length))
  const markWidth = Math.max(...report.checks.map(({ state }) => MARKS[state].length))
  const indent = ' '.repeat(markWidth + labelWidth + 4)
  const formatCheck = ({ label, state, found, fix }: HostCheck) => {
    const row = `${MARKS[state].padEnd(markWidth)}  ${label.padEnd(labelWidth)}  ${found}`
    return fix === null ? row : `${row}\n${indent}Fix: ${fix}`
  }
  const verdict = report.canRunGuests ? 'Guests can run here.' : 'Guests cannot run here.'
  return [...report.checks.map(formatCheck), '', verdict].join('\n')
}
