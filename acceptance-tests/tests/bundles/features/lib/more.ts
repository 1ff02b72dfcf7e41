import { DurableObject } from "cloudflare:workers";

export class More extends DurableObject {}
export type Nothing = { nothing: true };
