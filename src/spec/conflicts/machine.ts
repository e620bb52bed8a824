import { formatBytes, parseMemorySize } from '../../common/units.js'
import { isPc, resolveArch } from '../architectures.js'
import type { CpuTopology } from '../options/machine.js'
import type { VMOptions } from '../options.js'
import { countArranged, readMemory, resolveCpus } from '../resolve/resolve-machine.js'
import type { Report } from './report.js'

/** What of the CPUs, the memory and the firmware cannot be together. */
export function findMachineConflicts<VM>(options: VMOptions<VM>, report: Report): void {
  if (typeof options.cpus === 'object') checkTopology(options.cpus, report)
  checkMemory(options, report)
  checkNuma(options, report)
  const { firmware, machine, tpm } = options
  const isSecure = typeof firmware === 'object' && firmware.type === 'uefi' && firmware.secureBoot === true
  if (isSecure && isPc(resolveArch(options.arch)) && machine?.includes('q35') === false) {
    report(
      'machine',
      `'${machine}' with secure boot`,
      "'q35': other machines cannot keep the firmware's variables from the guest",
    )
  }
  if (typeof tpm === 'object' && tpm.model === 'crb' && tpm.version === '1.2') {
    report('tpm.model', "'crb' of a TPM 1.2", "'tis': only a TPM 2.0 has that interface")
  }
}

function checkTopology(cpus: CpuTopology, report: Report): void {
  const made = countArranged(cpus)
  const { cpus: count } = resolveCpus(cpus, made ?? 1)
  const most = cpus.maxcpus ?? count
  if (count > most) report('cpus.count', `${count}`, `no more than \`maxcpus\`, ${most}`)
  if (made === undefined) return
  const isWhole = cpus.sockets !== undefined && cpus.cores !== undefined && cpus.threads !== undefined
  if (isWhole ? most === made : most % made === 0) return
  const total = cpus.maxcpus === undefined ? 'count' : 'maxcpus'
  report(
    'cpus',
    `${total} ${most} for an arrangement of ${made}`,
    isWhole ? `a \`${total}\` of ${made}` : `a \`${total}\` that is a multiple of ${made}`,
  )
}

function checkMemory<VM>(options: VMOptions<VM>, report: Report): void {
  const { size, max, slots } = readMemory(options.memory)
  const [sizeBytes, mostBytes] = [parseMemorySize(size), parseMemorySize(max)]
  if (sizeBytes !== undefined && mostBytes !== undefined && mostBytes <= sizeBytes) {
    report('memory.max', formatBytes(mostBytes), `more than \`size\`, ${formatBytes(sizeBytes)}`)
  }
  const { hugePages, preallocate, hostNodes } = readMemory(options.memory)
  if ((hugePages || preallocate) && options.numa !== undefined) {
    report('numa', 'nodes beside huge pages or memory that is given at the start', 'one of both')
  }
  if (hostNodes !== undefined && options.numa !== undefined) {
    report('memory.hostNodes', `${hostNodes.join(', ')} beside \`numa\``, '`hostNodes` of each node there')
  }
  const places = [
    ['memory', readMemory(options.memory)] as const,
    ...(options.numa ?? []).map((node, index) => [`numa[${index}]`, node] as const),
  ]
  for (const [path, place] of places) {
    if (place.policy === undefined || place.hostNodes !== undefined) continue
    report(`${path}.policy`, `'${place.policy}'`, '`hostNodes` beside it: which of this host')
  }
  if (slots !== undefined && max === undefined) {
    report('memory.slots', `${slots}`, '`max` beside it: how much memory there may be in all')
  }
}

function checkNuma<VM>({ numa = [], memory, cpus }: VMOptions<VM>, report: Report): void {
  if (numa.length === 0) return
  const sum = numa.reduce((total, node) => total + (parseMemorySize(node.memory) ?? 0), 0)
  const size = parseMemorySize(readMemory(memory).size)
  if (size !== undefined && size !== sum) {
    report('numa', `nodes of ${formatBytes(sum)}`, `as much as \`memory\`, ${formatBytes(size)}`)
  }
  const { cpus: count, topology } = resolveCpus(cpus, 1)
  const most = topology.maxcpus ?? count
  const taken = new Map<number, number>()
  numa.forEach((node, index) => {
    for (const cpu of node.cpus ?? []) {
      const other = taken.get(cpu)
      const path = `numa[${index}].cpus`
      if (other !== undefined) report(path, `CPU ${cpu}`, `each CPU in one node: it is in numa[${other}]`)
      if (cpu >= most) report(path, `CPU ${cpu}`, `a CPU below ${most}, as many as \`cpus\` says`)
      taken.set(cpu, index)
    }
  })
}
