// The types that were generated, with openapi-fetch, against a running service: node smoke.js ADDRESS
import createClient from "openapi-fetch";
import type { components, paths } from "./sanad";

declare const process: { argv: string[]; exit(code: number): never };

type Page = components["schemas"]["FeedResponse"];

function expect(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(`expected otherwise: ${JSON.stringify(what)}`);
}

async function main(address: string): Promise<void> {
  const client = createClient<paths>({ baseUrl: address });
  const made = await client.POST("/v1/feed", { body: { user_id: "t1", size: 5, request_id: "r1" } });
  const page: Page | undefined = made.data;
  expect(page !== undefined && page.items.length === 5, made);
  const first: string = page.items[0].item_id;
  const why = await client.GET("/v1/why", { params: { query: { request_id: "r1", item_id: first } } });
  expect(why.data?.shown === true && why.data.position === 1, why);
  const ranked = await client.POST("/v1/rank", { body: { user_id: "t2", candidates: [{ item_id: first }] } });
  expect(ranked.data?.items[0].item_id === first, ranked);
  const exposure = await client.GET("/v1/users/{user_id}/exposure", { params: { path: { user_id: "t1" } } });
  expect(exposure.data?.deliveries === 5, exposure);
  const refused = await client.POST("/v1/feed", { body: { user_id: "t1", size: 0 } });
  expect(refused.response.status === 422 && refused.error?.detail !== undefined, refused);
  console.log("the TypeScript client works");
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
