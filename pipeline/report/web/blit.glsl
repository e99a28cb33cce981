// A picture over a background, enlarged or reduced to the canvas.
precision highp float;
uniform sampler2D uPicture;
uniform vec2 uCanvas;               // pixels
uniform vec4 uBackground;           // straight alpha
out vec4 colour;

void main() {
  vec2 place = gl_FragCoord.xy / uCanvas;
  vec4 seen = texture(uPicture, vec2(place.x, 1.0 - place.y));
  float behind = (1.0 - seen.a) * uBackground.a;
  colour = vec4(seen.rgb + uBackground.rgb * behind, seen.a + behind);
}
