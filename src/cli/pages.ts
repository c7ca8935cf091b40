import type { LocalApi, Query } from './local-api.ts'

const PAGE = 500

/** Up to `limit` rows of a list of the API, page by page. @param name the property that holds the rows */
export async function eachPage<T>(
  api: LocalApi,
  path: string,
  name: string,
  query: Query,
  limit: number,
): Promise<readonly T[]> {
  const rows: T[] = []
  let cursor: string | null | undefined
  do {
    const page: Readonly<Record<string, unknown>> = await api.get(path, {
      ...query,
      limit: Math.min(PAGE, limit - rows.length),
      ...(cursor ? { cursor } : {}),
    })
    rows.push(...((page[name] ?? []) as T[]))
    cursor = page.next_cursor as string | null | undefined
  } while (cursor && rows.length < limit)
  return rows
}
