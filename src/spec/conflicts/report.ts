/** Takes a problem: where it is, what was there, what was expected. */
export type Report = (path: string, got: string, expected: string) => void
