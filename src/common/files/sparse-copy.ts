import { type HostTool, runTool } from '../process/run-tool.js'

const CP: HostTool = { program: 'cp', aptPackage: 'coreutils', why: 'copies files' }
const COPY_TIMEOUT_MS = 300_000

/** Copies a file sparsely, sharing blocks if the file system supports it. */
export async function copySparse(from: string, to: string, signal?: AbortSignal | undefined): Promise<void> {
  await runTool({
    tool: CP,
    args: ['--sparse=always', '--reflink=auto', '--', from, to],
    purpose: `copying ${from}`,
    timeoutMs: COPY_TIMEOUT_MS,
    signal,
  })
}
