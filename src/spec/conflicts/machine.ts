import { formatBytes, parseMemorySize } from '../../common/units.js'
import { isPc, resolveArch } from '../architectures.js'
import type { CpuTopology } from '../options/machine.js'
import type { VMOptions } from '../options.js'
import { countTopology, readMemory, resolveCpus } from '../resolve/resolve-machine.js'
import type { Report } from './report.js'

/** Reports options of CPUs, memory and firmware that conflict. */
export function findMachineConflicts(options: VMOptions, report: Report): void {
  if (typeof options.cpus === 'object') checkTopology(options.cpus, report)
  checkMemory(options, report)
  checkNuma(options, report)
  const { firmware, machine, tpm, identity, start } = options
  if (identity === 'shared' && start !== 'warm')
    report('identity', "'shared' without `start: 'warm'`", "`start: 'warm'` too")
  const isSecure = typeof firmware === 'object' && firmware.type === 'uefi' && firmware.secureBoot === true
  if (isSecure && isPc(resolveArch(options.arch)) && machine?.includes('q35') === false) {
    report(
      'machine',
      `'${machine}' with Secure Boot`,
      "'q35' (other machines cannot protect the UEFI variables from the guest)",
    )
  }
  if (typeof tpm === 'object' && tpm.model === 'crb' && tpm.version === '1.2') {
    report('tpm.model', "'crb' with version 1.2", "'tis' (CRB requires TPM 2.0)")
  }
}

function checkTopology(cpus: CpuTopology, report: Report): void {
  const product = countTopology(cpus)
  const { cpus: count } = resolveCpus(cpus, product ?? 1)
  const max = cpus.maxcpus ?? count
  if (count > max) report('cpus.count', `${count}`, `at most \`maxcpus\`, ${max}`)
  if (product === undefined) return
  const isWhole = cpus.sockets !== undefined && cpus.cores !== undefined && cpus.threads !== undefined
  if (isWhole ? max === product : max % product === 0) return
  const total = cpus.maxcpus === undefined ? 'count' : 'maxcpus'
  report(
    'cpus',
    `a \`${total}\` of ${max} for a topology of ${product}`,
    isWhole ? `a \`${total}\` of ${product}` : `a \`${total}\` that is a multiple of ${product}`,
  )
}

function checkMemory(options: VMOptions, report: Report): void {
  const { size, max, slots } = readMemory(options.memory)
  const [sizeBytes, maxBytes] = [parseMemorySize(size), parseMemorySize(max)]
  if (sizeBytes !== undefined && maxBytes !== undefined && maxBytes <= sizeBytes) {
    report('memory.max', formatBytes(maxBytes), `more than \`size\`, ${formatBytes(sizeBytes)}`)
  }
  const { hugePages, preallocate, hostNodes } = readMemory(options.memory)
  if ((hugePages || preallocate) && options.numa !== undefined) {
    report('numa', 'both', 'only one of `numa` and `memory.hugePages` or `memory.preallocate`')
  }
  if (hostNodes !== undefined && options.numa !== undefined) {
    report(
      'memory.hostNodes',
      `${hostNodes.join(', ')} together with \`numa\``,
      '`hostNodes` of each NUMA node instead',
    )
  }
  const allocations = [
    ['memory', readMemory(options.memory)] as const,
    ...(options.numa ?? []).map((node, index) => [`numa[${index}]`, node] as const),
  ]
  for (const [path, allocation] of allocations) {
    if (allocation.policy === undefined || allocation.hostNodes !== undefined) continue
    report(
      `${path}.policy`,
      `'${allocation.policy}'`,
      '`hostNodes` to be set too (the host nodes to allocate from)',
    )
  }
  if (slots !== undefined && max === undefined) {
    report('memory.slots', `${slots}`, '`max` to be set too (the maximum memory)')
  }
}

function checkNuma({ numa = [], memory, cpus }: VMOptions, report: Report): void {
  if (numa.length === 0) return
  const sum = numa.reduce((total, node) => total + (parseMemorySize(node.memory) ?? 0), 0)
  const size = parseMemorySize(readMemory(memory).size)
  if (size !== undefined && size !== sum) {
    report(
      'numa',
      `nodes with ${formatBytes(sum)} in total`,
      `the same total as \`memory\`, ${formatBytes(size)}`,
    )
  }
  const { cpus: count, topology } = resolveCpus(cpus, 1)
  const max = topology.maxcpus ?? count
  const used = new Map<number, number>()
  numa.forEach((node, index) => {
    for (const cpu of node.cpus ?? []) {
      const other = used.get(cpu)
      const path = `numa[${index}].cpus`
      if (other !== undefined)
        report(path, `CPU ${cpu}`, `each CPU in only one node (it is also in numa[${other}])`)
      if (cpu >= max) report(path, `CPU ${cpu}`, `a CPU below ${max}, the number of CPUs`)
      used.set(cpu, index)
    }
  })
}
