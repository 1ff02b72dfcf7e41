export default {
  /** Plays in the same game as the game Worker does, without the class. */
  async fetch(request, env) {
    return new Response(`${await env.GAME.getByName("chess").play()}\n`);
  },
};
